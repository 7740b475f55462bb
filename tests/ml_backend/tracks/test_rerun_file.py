"""``parallax view --rerun``: what Rerun's own reader finds in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.ml_backend.tracks.conftest import Trained

Run = Callable[..., Any]


@pytest.mark.package
def test_a_file_for_rerun_as_its_own_reader_finds_it(trained: Trained, run: Run, tmp_path: Path) -> None:
    reading = pytest.importorskip("rerun.chunk", reason="rerun-sdk is not installed (200 MB of packages)")
    calibration, studio = trained.videos.parent / "calibration.toml", trained.studio
    arguments = ("view", trained.videos, "--model", trained.model, "--calibration", calibration, "--rerun", "walk.rrd")
    answer = run(*arguments)
    assert answer.exit_code == 0, answer.output
    found = entities(reading, tmp_path / "walk.rrd")

    assert {"/points", *(f"/cameras/{name}/{part}" for name in studio.rig.names for part in ("picture", "points"))} <= set(found)
    camera = found["/cameras/cam2"]
    expected = studio.rig.cameras[1].K.copy()
    expected[:2, 2] += 0.5
    matrix = np.reshape(first(camera, "Pinhole:image_from_camera"), (3, 3)).T  # column by column
    np.testing.assert_allclose(matrix, expected, rtol=1e-5)
    np.testing.assert_allclose(
        np.ravel(first(camera, "Transform3D:translation")), studio.rig.cameras[1].centre, rtol=1e-5, atol=1e-3
    )

    run("predict", trained.videos, "--model", trained.model, "--calibration", calibration)
    names = studio.skeleton.keypoints
    table = pd.read_csv(tmp_path / "tracks/videos/csv/cam2.csv")
    points = rows(found["/cameras/cam2/points"], "Points2D:positions")
    assert sorted(points) == list(range(24))
    ours = table.loc[7, [f"{name}_{axis}" for name in names for axis in "xy"]].to_numpy(dtype=float).reshape(-1, 2)
    np.testing.assert_allclose(points[7], ours[np.isfinite(ours).all(axis=1)] + 0.5, atol=1e-3)
    world = pd.read_csv(tmp_path / "tracks/videos/csv/videos_3d.csv")
    places = rows(found["/points"], "Points3D:positions")
    xyz = world.loc[7, [f"{name}_{axis}" for name in names for axis in "xyz"]].to_numpy(dtype=float).reshape(-1, 3)
    np.testing.assert_allclose(places[7], xyz[np.isfinite(xyz).all(axis=1)], rtol=1e-4, atol=1e-2)
    assert len(rows(found["/cameras/cam2/picture"], "EncodedImage:blob")) == 24

    assert "exists already" in run(*arguments).stderr
    assert run(*arguments, "--force").exit_code == 0


def test_without_rerun_the_extra_is_named(trained: Trained, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "rerun", None)
    answer = run("view", trained.videos, "--model", trained.model, "--rerun", "walk.rrd")
    assert answer.exit_code == 1
    assert "pip install 'label-studio-parallax[rerun]'" in answer.stderr


def entities(reading: Any, path: Path) -> dict[str, list[Any]]:
    """Entity → its chunks, as tables of Arrow."""
    found: dict[str, list[Any]] = {}
    for chunk in reading.RrdReader(path).stream():
        found.setdefault(chunk.entity_path, []).append(chunk.to_record_batch())
    return found


def rows(chunks: list[Any], component: str) -> dict[int, Any]:
    """Frame → value."""
    return {
        int(frame): np.array(value.as_py())
        for batch in chunks
        if component in batch.schema.names and "frame" in batch.schema.names
        for frame, value in zip(batch.column("frame").to_pylist(), batch.column(component), strict=True)
    }


def first(chunks: list[Any], component: str) -> Any:
    """The first value of a component, wherever it stands."""
    return next(batch.column(component)[0].as_py() for batch in chunks if component in batch.schema.names)
