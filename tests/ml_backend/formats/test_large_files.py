"""Honest long files, hours of predictions in about 200 MB: read whole, within the limits that damaged files meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sleap_io
import xarray

from label_config.values import FloatArray
from ml_backend.formats.format_registry import read_labels

KEYPOINTS = [f"k{k}" for k in range(12)]
MIB = 200


def places(frames: int) -> FloatArray:
    """(n, K, 3) x, y, likelihood."""
    found = np.random.default_rng(0).uniform(0, 600, (frames, len(KEYPOINTS), 3))
    found[..., 2] = 0.9
    return found


def table(values: FloatArray) -> pd.DataFrame:
    columns = pd.MultiIndex.from_product([["net"], KEYPOINTS, ["x", "y", "likelihood"]], names=["scorer", "bodyparts", "coords"])
    return pd.DataFrame(values.reshape(len(values), -1), columns=columns)


def csv(path: Path, values: FloatArray) -> None:
    table(values).to_csv(path, float_format="%.5f")


def hdf5(path: Path, values: FloatArray) -> None:
    table(values).to_hdf(path, key="df_with_missing", mode="w", format="table")


def netcdf(path: Path, values: FloatArray) -> None:
    """Without compression, as movement writes it."""
    xarray.Dataset(
        {
            "position": (("time", "space", "keypoints", "individuals"), np.moveaxis(values[..., :2], 2, 1)[..., None]),
            "confidence": (("time", "keypoints", "individuals"), values[..., 2:]),
        },
        coords={"time": np.arange(len(values)), "space": ["x", "y"], "keypoints": KEYPOINTS, "individuals": ["a"]},
        attrs={"ds_type": "poses", "time_unit": "frames", "source_software": "SLEAP"},
    ).to_netcdf(path, engine="h5netcdf")


def sleap(path: Path, values: FloatArray) -> None:
    skeleton = sleap_io.Skeleton(nodes=list(KEYPOINTS), name="s")
    video = sleap_io.Video(filename="video.mp4", open_backend=False)
    frames = [
        sleap_io.LabeledFrame(
            video=video,
            frame_idx=i,
            instances=[
                sleap_io.PredictedInstance.from_numpy(of[:, :2], skeleton=skeleton, point_scores=of[:, 2].copy(), score=0.9)
            ],
        )
        for i, of in enumerate(values)
    ]
    sleap_io.save_slp(sleap_io.Labels(frames), str(path), embed=False, verbose=False)


#: Ending → writer, bytes of a frame.
KINDS: dict[str, tuple[Callable[[Path, FloatArray], None], int]] = {
    ".csv": (csv, 320),
    ".h5": (hdf5, 296),
    ".nc": (netcdf, 288),
    ".slp": (sleap, 394),
}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_hours_of_predictions_are_read(kind: str, tmp_path: Path) -> None:
    write, bytes_of_a_frame = KINDS[kind]
    frames = MIB * 2**20 // bytes_of_a_frame
    values = places(frames)
    path = tmp_path / f"video{kind}"
    write(path, values)
    assert path.stat().st_size > 0.9 * MIB * 2**20
    found = read_labels(path)
    assert len(found.labels) == frames
    for i in (0, frames // 2, frames - 1):
        np.testing.assert_allclose(found.labels[i].xy_px, values[i, :, :2], atol=1e-4)
