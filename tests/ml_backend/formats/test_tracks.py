"""Points over time: movement's and anipose's files by the definitions of these tools, and by movement itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray

from label_config.values import BadInputError, Frame, FrameKey, ImageRef, PointState
from label_config.values.skeleton import Skeleton
from ml_backend.formats.anipose_files import WorldTrack
from ml_backend.formats.exporting import Export
from ml_backend.formats.format_registry import detect_format, read_labels
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.formats.matching import match_labels_to_frames
from ml_backend.formats.names import LabelFormat

U, V, H, A = PointState.UNLABELLED, PointState.VISIBLE, PointState.OCCLUDED, PointState.ABSENT
SKELETON = Skeleton("mouse", ("nose", "ear", "tail"), limbs=((0, 1), (1, 2)))
SIZE = (64, 48)
KEYPOINTS = ["nose", "ear"]


def label(view: str, frame: int, states: Sequence[PointState], *, sure: bool = False, video: bool = True) -> LabelledImage:
    """Frame ``frame`` of the recording is three later in the left video, which began earlier."""
    state = np.array(states, dtype=np.int64)
    xy = np.array([[10.25 + 7 * k + frame % 5, 20.5 + 3 * k] for k in range(3)])
    xy[~np.isin(state, (V, H))] = np.nan
    own = frame + 3 * (view == "left")
    picture = ImageRef(f"/lab/run/{view}.mp4", own, size_px=SIZE) if video else ImageRef(f"/lab/{view}/p{own}.png", size_px=SIZE)
    confidence = np.where(np.isfinite(xy[:, 0]), 0.25 * (1 + np.arange(3)), np.nan) if sure else None
    return LabelledImage(picture, xy, state, view, FrameKey("run", frame), people=() if sure else ("zoe",), confidence=confidence)


def frames_of(labels: LabelSet) -> list[Frame]:
    images: dict[FrameKey, dict[str, ImageRef]] = {}
    for item in labels.labels:
        assert item.key is not None
        assert item.view is not None
        images.setdefault(item.key, {})[item.view] = item.image
    return [Frame(key, of) for key, of in images.items()]


def back(paths: Sequence[Path], labels: LabelSet, **more: Any) -> dict[tuple[FrameKey, str], LabelledImage]:
    """Labels of the files by their place in the recording."""
    read = [label for path in paths for label in read_labels(path, **more).labels]
    matches = match_labels_to_frames(read, frames_of(labels), ("left", "right"))
    assert not matches.rest
    return {(place.key, place.view): item for item, place in matches.found}


def same(found: dict[tuple[FrameKey, str], LabelledImage], labels: LabelSet) -> None:
    assert len(found) == len(labels.labels)
    for expected in labels.labels:
        got = found[expected.key, expected.view]  # type: ignore[index]
        np.testing.assert_allclose(got.xy_px, expected.xy_px, atol=1e-4)
        if expected.confidence is not None:
            np.testing.assert_allclose(got.confidence, expected.confidence, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("video", [True, False])
def test_labels_through_movement_keep_states_people_and_frames(video: bool, tmp_path: Path) -> None:
    views = ("left", "right")
    given = [label(view, frame, [V, H, A] if frame == 4 else [V, U, V], video=video) for view in views for frame in (4, 9)]
    labels = LabelSet(SKELETON, tuple(given))
    notes = Export(labels, LabelFormat.MOVEMENT, tmp_path / "m").write()
    assert notes == ["occluded and absent are in a variable of our own, `state`, which movement itself does not use"]
    paths = sorted((tmp_path / "m").glob("*.nc"))
    assert [path.name for path in paths] == (["left.nc", "right.nc"] if video else ["run_left.nc", "run_right.nc"])
    found = back(paths, labels)
    same(found, labels)
    for expected in given:
        got = found[expected.key, expected.view]  # type: ignore[index]
        assert got.state.tolist() == expected.state.tolist()
        assert (got.people, got.confidence) == (("zoe",), None)
    with pytest.raises(BadInputError, match="its files name no pictures, got --pictures"):
        Export(labels, LabelFormat.MOVEMENT, tmp_path / "p", lambda wanted: {}).write()


def test_two_videos_of_one_name_have_files_of_their_own(tmp_path: Path) -> None:
    items = [
        replace(label(view, 4, [V, V, V]), image=ImageRef(f"/lab/{view}/video.mp4", 4, size_px=SIZE))
        for view in ("left", "right")
    ]
    labels = LabelSet(SKELETON, tuple(items))
    Export(labels, LabelFormat.MOVEMENT, tmp_path / "m").write()
    paths = sorted((tmp_path / "m").glob("*.nc"))
    assert [path.name for path in paths] == ["left_video.nc", "right_video.nc"]
    same(back(paths, labels), labels)


def dataset(**changes: object) -> xarray.Dataset:
    """As ``ValidPosesInputs.to_dataset`` of movement 0.15 makes it: 3 frames, 2 individuals."""
    rng = np.random.default_rng(0)
    attributes = {"source_software": "SLEAP", "ds_type": "poses", "time_unit": "frames", **changes}
    return xarray.Dataset(
        {
            "position": (("time", "space", "keypoints", "individuals"), rng.uniform(0, 48, (3, 2, 2, 2))),
            "confidence": (("time", "keypoints", "individuals"), rng.uniform(0, 1, (3, 2, 2))),
        },
        coords={"time": np.arange(3), "space": ["x", "y"], "keypoints": KEYPOINTS, "individuals": ["a", "b"]},
        attrs=attributes,
    )


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_movements_own_files_are_predictions_of_several(engine: str, tmp_path: Path) -> None:
    data = dataset()
    data.to_netcdf(tmp_path / "video1.nc", engine=engine)  # type: ignore[call-overload]
    assert detect_format(tmp_path / "video1.nc") is LabelFormat.MOVEMENT
    found = read_labels(tmp_path / "video1.nc")
    assert found.notes == (
        "2 individuals: 'a' is subject 0, 'b' is subject 1",
        "the file names no video: its points are taken for those of 'video1' (else --video)",
    )
    assert [(item.image.source, item.subject) for item in found.labels[:3]] == [
        ("video1/img000000.png", 0),
        ("video1/img000000.png", 1),
        ("video1/img000001.png", 0),
    ]
    np.testing.assert_array_equal(found.labels[1].xy_px, data["position"].sel(time=0, individuals="b").values.T)
    np.testing.assert_array_equal(found.labels[1].confidence, data["confidence"].sel(time=0, individuals="b").values)
    assert read_labels(tmp_path / "video1.nc", video="x.mp4").labels[2].image == ImageRef("x.mp4", frame_index=1)


def test_times_in_seconds_are_frames_by_the_rate_of_the_file(tmp_path: Path) -> None:
    data = dataset(time_unit="seconds", fps=29.97).assign_coords(time=np.array([10, 11, 500]) / 29.97)
    data.to_netcdf(tmp_path / "v.nc", engine="h5netcdf")
    assert {item.image.source for item in read_labels(tmp_path / "v.nc").labels} == {f"v/img{n:06d}.png" for n in (10, 11, 500)}
    unsure = data.drop_vars("confidence")
    unsure.to_netcdf(tmp_path / "u.nc", engine="h5netcdf")
    found = read_labels(tmp_path / "u.nc")
    assert "the file has no confidence: its points are taken for labels that people made" in found.notes
    assert found.labels[0].confidence is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.assign_attrs(ds_type="bboxes"), "expected movement's poses"),
        (lambda d: d.rename(keypoints="parts"), "no keypoints"),
        (lambda d: d.assign_attrs(time_unit="seconds"), "says no fps"),
        (lambda d: d.assign_coords(time=[0.0, 0.5, 1.0]), "time 0.5 is no frame"),
        (lambda d: d.assign_coords(time=[0, 1, 1]), "each frame once"),
        (lambda d: d.isel(space=[0, 1, 1]).assign_coords(space=["x", "y", "z"]), "got x, y, z"),
        (lambda d: d.assign(position=d["position"] / 0.0), "infinite"),
    ],
)
def test_what_is_no_track_of_a_camera_is_refused(change, words: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    change(dataset()).to_netcdf(tmp_path / "v.nc", engine="h5netcdf")
    with pytest.raises(BadInputError, match=words) as raised:
        read_labels(tmp_path / "v.nc")
    assert "v.nc" in str(raised.value)
    (tmp_path / "v.nc").write_bytes(b"CDF\x01 and nothing else")
    with pytest.raises(BadInputError, match=r"v\.nc"):
        read_labels(tmp_path / "v.nc")


def predictions() -> LabelSet:
    return LabelSet(
        SKELETON, tuple(label(view, frame, [V, V, U], sure=True) for view in ("left", "right") for frame in (2, 3, 6))
    )


def test_predictions_are_what_anipose_reads(tmp_path: Path) -> None:
    """``load_pose_2d_dlc`` and ``triangulate`` of anipose, in their own words."""
    world = WorldTrack(
        "m",
        np.array([2, 3, 6]),
        np.arange(27.0).reshape(3, 3, 3) / 7,
        np.full((3, 3), 0.5),
        np.full((3, 3), 2),
        np.full((3, 3), 0.75),
    )
    notes = Export(predictions(), LabelFormat.ANIPOSE, tmp_path / "a", world={"run": world}).write()
    assert notes == ["pose-3d/run.csv: lengths in m, in the world of the calibration"]
    data = pd.read_hdf(tmp_path / "a/pose-2d/left.h5")
    points = data.loc[:, data.columns.levels[0][0]]
    assert list(points.columns.get_level_values(points.columns.names.index("bodyparts")).unique()) == list(SKELETON.keypoints)
    array = np.array(points).reshape(10, 3, 1, 3)  # 6 + 3 earlier frames, from 0
    np.testing.assert_allclose(array[9, 0, 0], [10.25 + 1, 20.5, 0.25])
    assert (array[0, :, 0, 2] == 0).all()
    assert np.isnan(array[0, :, 0, :2]).all()
    found = back([tmp_path / "a/pose-2d/left.h5"], predictions(), video="left.mp4")
    found |= back([tmp_path / "a/pose-2d/right.h5"], predictions(), video="right.mp4")
    same(found, predictions())
    with pytest.raises(BadInputError, match="say --video"):  # 'left' may be the video, or the recording's own numbers
        back([tmp_path / "a/pose-2d/left.h5"], predictions())
    table = pd.read_csv(tmp_path / "a/pose-3d/run.csv")
    assert table["fnum"].tolist() == list(range(7))
    assert table.columns.tolist()[:6] == [f"nose_{part}" for part in ("x", "y", "z", "error", "ncams", "score")]
    np.testing.assert_allclose(table.loc[6, ["tail_x", "tail_y", "tail_z"]].to_numpy(float), np.array([24, 25, 26]) / 7)
    assert table.loc[4, "nose_x":"tail_score"].isna().all()
    turn = table[[f"M_{i}{j}" for i in range(3) for j in range(3)]].to_numpy()
    assert (turn == np.eye(3).ravel()).all()


def test_predictions_through_movement_keep_their_confidence(tmp_path: Path) -> None:
    assert Export(predictions(), LabelFormat.MOVEMENT, tmp_path / "m").write() == []
    same(back(sorted((tmp_path / "m").glob("*.nc")), predictions()), predictions())


def test_predictions_through_sleap_are_predictions_there(tmp_path: Path) -> None:
    import sleap_io

    Export(predictions(), LabelFormat.SLEAP, tmp_path / "p.slp").write()
    whole = sleap_io.load_slp(str(tmp_path / "p.slp"), open_videos=False)
    assert {type(item).__name__ for frame in whole.labeled_frames for item in frame.instances} == {"PredictedInstance"}
    same(back([tmp_path / "p.slp"], predictions()), predictions())


def test_anipose_has_no_labels_of_people(tmp_path: Path) -> None:
    labels = LabelSet(SKELETON, (label("left", 2, [V, V, V]),))
    with pytest.raises(BadInputError, match="export them as dlc, or predictions with --predicted"):
        Export(labels, LabelFormat.ANIPOSE, tmp_path / "a").write()


@pytest.mark.package
def test_movement_itself_reads_what_is_written(tmp_path: Path) -> None:
    datasets = pytest.importorskip("movement.validators.datasets", reason="movement is not installed (1.4 GB with what it needs)")
    kinematics = pytest.importorskip("movement.kinematics")
    Export(predictions(), LabelFormat.MOVEMENT, tmp_path / "m").write()
    data = xarray.load_dataset(tmp_path / "m/left.nc")
    datasets.ValidPosesInputs.validate(data)
    assert kinematics.compute_displacement(data["position"]).sizes["time"] == 3
