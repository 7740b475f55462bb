"""``parallax predict`` with a model folder alone: what a stranger brings, and what other tools read of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sleap_io
import xarray

from ml_backend.heatmaps.crops import CropTransform, box_around, padded_box
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.dataset import BOX_MARGIN
from ml_backend.pose.single_view_network import (
    SingleViewManifest,
    build_single_view,
    camera_targets,
    fit_single_view,
    save_single_view,
)
from tests.ml_backend.tracks.conftest import Trained, turn_by_metadata, write_video

Run = Callable[..., Any]


def points(table: pd.DataFrame, trained: Trained, axes: str = "xy") -> Any:
    """(n, K, axes) of a CSV of ours."""
    return np.stack([table[[f"{name}_{axis}" for axis in axes]].to_numpy() for name in trained.studio.skeleton.keypoints], axis=1)


def error_px(xy: Any, truth: Any) -> float:
    return float(np.nanmedian(np.linalg.norm(xy - truth, axis=-1)))


def test_three_cameras_in_every_format_as_the_other_tools_read_them(trained: Trained, run: Run, tmp_path: Path) -> None:
    names, truth = list(trained.studio.skeleton.keypoints), trained.studio.truth_xy
    calibration = trained.videos.parent / "calibration.toml"
    formats = "csv,dlc,sleap,movement,anipose,trc"
    answer = run("predict", trained.videos, "--model", trained.model, "--calibration", calibration, "--to", formats)
    assert answer.exit_code == 0, answer.output
    assert "24 frames of 3 cameras" in answer.stdout
    out = tmp_path / "tracks" / "videos"
    ours = pd.read_csv(out / "csv" / "cam2.csv")
    assert ours["frame"].tolist() == list(range(24))
    np.testing.assert_allclose(ours["time_s"], np.arange(24) / 30, atol=1e-3)
    xy = points(ours, trained)
    assert error_px(xy, truth[:, 1]) < 3

    dlc = pd.read_hdf(out / "dlc" / "cam2DLC_parallax.h5")
    assert dlc.columns.names == ["scorer", "bodyparts", "coords"]
    np.testing.assert_allclose(dlc.to_numpy().reshape(24, -1, 3)[..., :2], xy, atol=1e-6)
    csv = pd.read_csv(out / "dlc" / "cam2DLC_parallax.csv", header=[0, 1, 2], index_col=0)
    np.testing.assert_allclose(csv.to_numpy(), dlc.to_numpy(), atol=1e-9)

    sleap = sleap_io.load_slp(str(out / "sleap" / "cam2.predictions.slp"))
    assert sleap.skeleton.node_names == names
    assert str(sleap.video.filename) == str((trained.videos / "cam2.mp4").resolve())
    np.testing.assert_allclose(sleap.numpy()[:, 0], xy, atol=1e-4)

    movement = xarray.load_dataset(out / "movement" / "cam2.nc")
    np.testing.assert_allclose(movement["position"].transpose("time", "keypoints", "space", "individuals")[..., 0], xy, atol=1e-6)

    world = pd.read_csv(out / "csv" / "videos_3d.csv")
    xyz = points(world, trained, "xyz")
    assert np.nanmedian(np.linalg.norm(xyz - trained.studio.truth_xyz, axis=-1)) < 80  # mm; the figure has 1,900
    assert set(world["head_cameras"]) <= {0, 2, 3}
    spread = world[[f"head_cov_{part}" for part in ("xx", "yy", "zz")]].to_numpy()
    assert (spread[np.isfinite(spread)] > 0).all()

    anipose = pd.read_csv(out / "anipose" / "pose-3d" / "videos.csv")
    np.testing.assert_allclose(anipose[["head_x", "head_y", "head_z"]], world[["head_x", "head_y", "head_z"]], rtol=1e-6)
    np.testing.assert_allclose(anipose["head_error"], world["head_residual_px"], rtol=1e-6)

    header = (out / "trc" / "videos.trc").read_text().splitlines()[:4]
    assert header[2].split("\t")[:5] == ["30", "30", "24", "15", "mm"]
    assert [name for name in header[3].split("\t")[2:] if name] == names
    trc = pd.read_csv(out / "trc" / "videos.trc", sep="\t", skiprows=5, header=None)
    np.testing.assert_allclose(trc.to_numpy()[:, 2:].reshape(24, -1, 3), xyz, atol=1e-4)


def test_one_camera_without_calibration_and_with_spaces_in_its_name(trained: Trained, run: Run, tmp_path: Path) -> None:
    video = write_video(tmp_path / "my videos" / "mouse 1, left.avi", trained.pictures(0, range(10)), codec="mjpeg")
    answer = run("predict", video, "--model", trained.model, "--to", "dlc", "--out", tmp_path / "out")
    assert answer.exit_code == 0, answer.output
    found = pd.read_hdf(tmp_path / "out/mouse 1, left/dlc/mouse 1, leftDLC_parallax.h5")
    assert error_px(found.to_numpy().reshape(10, -1, 3)[..., :2], trained.studio.truth_xy[:10, 0]) < 3
    refused = run("predict", video, "--model", trained.model, "--to", "trc", "--out", tmp_path / "out")
    assert "trc holds points in 3-D, which need two calibrated cameras or more" in refused.stderr


def test_turned_by_metadata_with_uneven_times_and_sound(trained: Trained, run: Run, tmp_path: Path) -> None:
    lying = [np.rot90(picture) for picture in trained.pictures(0, range(8))]
    times = [0, 1, 2, 5, 6, 9, 10, 12]
    turn_by_metadata(write_video(tmp_path / "phone.mp4", lying, times=times, audio=True))
    answer = run("predict", "phone.mp4", "--model", trained.model)
    assert answer.exit_code == 0, answer.output
    table = pd.read_csv(tmp_path / "tracks/phone/csv/phone.csv")
    np.testing.assert_allclose(table["time_s"], np.array(times) / 30, atol=1e-3)
    assert error_px(points(table, trained), trained.studio.truth_xy[:8, 0]) < 3


def test_a_camera_that_stops_early_and_one_that_is_missing(trained: Trained, run: Run, tmp_path: Path) -> None:
    for view, count in ((0, 24), (1, 9)):
        write_video(tmp_path / f"walk_cam{view + 1}.mp4", trained.pictures(view, range(count)))
    calibration = trained.videos.parent / "calibration.toml"
    answer = run("predict", "walk_cam1.mp4", "walk_cam2.mp4", "--model", trained.model, "--calibration", calibration)
    assert answer.exit_code == 0, answer.output
    assert "no file of cam3" in answer.stdout
    assert "frames without a picture, left empty: cam2 15" in answer.stdout
    world = pd.read_csv(tmp_path / "tracks/walk/csv/walk_3d.csv")
    assert np.isfinite(world["head_x"][:9]).all()
    assert world["head_x"][9:].isna().all()
    assert pd.read_csv(tmp_path / "tracks/walk/csv/walk_cam2.csv")["frame"].tolist() == list(range(9))


def test_a_damaged_picture_is_empty_and_counted(trained: Trained, run: Run, tmp_path: Path) -> None:
    import cv2

    (tmp_path / "pictures").mkdir()
    for i, picture in enumerate(trained.pictures(0, range(6))):
        cv2.imwrite(str(tmp_path / f"pictures/{i}.png"), picture[..., ::-1])
    damaged = tmp_path / "pictures/3.png"
    damaged.write_bytes(damaged.read_bytes()[:-2000])
    answer = run("predict", "pictures", "--model", trained.model)
    assert answer.exit_code == 0, answer.output
    assert "pictures that cannot be read, left empty: camera 1; the first: " in answer.stdout
    table = pd.read_csv(tmp_path / "tracks/pictures/csv/pictures_camera.csv")
    assert table["head_x"].isna().tolist() == [False, False, False, True, False, False]


def test_nothing_is_overwritten_unless_asked_for(trained: Trained, run: Run, tmp_path: Path) -> None:
    video = write_video(tmp_path / "walk.mp4", trained.pictures(0, range(6)))
    assert run("predict", video, "--model", trained.model).exit_code == 0
    written = tmp_path / "tracks/walk/csv/walk.csv"
    before = written.read_bytes()
    again = run("predict", video, "--model", trained.model)
    assert "csv, page.html was there already, of the same model, pictures and options" in again.stdout
    smoothed = run("predict", video, "--model", trained.model, "--smooth", "median")
    assert smoothed.exit_code == 1
    assert "exists already; choose another --out, or --force to replace it" in smoothed.stderr
    assert written.read_bytes() == before
    more = run("predict", video, "--model", trained.model, "--to", "csv,dlc")
    assert more.exit_code == 0
    assert (tmp_path / "tracks/walk/dlc").is_dir()
    write_video(video, trained.pictures(1, range(6)))
    other = run("predict", video, "--model", trained.model)
    assert "holds tracks with another recording" in other.stderr
    forced = run("predict", video, "--model", trained.model, "--force", "--smooth", "median")
    assert forced.exit_code == 0, forced.output
    assert written.read_bytes() != before
    assert "head_median_x" in written.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected recordings of the project (none in parallax.yaml), videos or folders of pictures"),
        (["walk.mp4", "--to", "xml"], "--to xml: expected one of csv, dlc, sleap, movement, anipose, trc"),
        (["walk.mp4", "--version", "px-3"], "--version and --model: expected one of them"),
        (["walk.mp4", "--camera", "cam1=walk.mp4"], "with --camera every file needs its camera"),
    ],
)
def test_what_is_asked_wrongly(trained: Trained, run: Run, tmp_path: Path, arguments: list[str], words: str) -> None:
    write_video(tmp_path / "walk.mp4", trained.pictures(0, range(2)))
    answer = run("predict", *arguments, "--model", trained.model)
    assert answer.exit_code == 1
    assert words in answer.stderr


@pytest.fixture(scope="session")
def weights(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-view network of the first camera, trained for seconds on the truth."""
    studio, config = (
        trained.studio,
        TrainConfig(
            input_px=(64, 64), network_args={"width": 8, "decoder": 16}, steps=150, device="cpu", augment=AugmentConfig.none()
        ),
    )
    camera, root = studio.rig.cameras[0], studio.skeleton.root
    xy, depth = camera_targets(studio.truth_xyz, camera, root)
    boxes = [box for box in map(box_around, xy) if box is not None]
    cut = [CropTransform(padded_box(box, 1.0, BOX_MARGIN), (64, 64), (64, 64)) for box in boxes]
    crops = np.stack([crop.extract(picture) for crop, picture in zip(cut, trained.pictures(0, range(24)), strict=True)])
    network = build_single_view(config, len(studio.skeleton))
    fit_single_view(network, crops, np.stack([c.image_to_input(p) for c, p in zip(cut, xy, strict=True)]), depth, config)
    parent, child = np.array(studio.skeleton.limbs).T
    lengths = np.median(np.linalg.norm(studio.truth_xyz[:, child] - studio.truth_xyz[:, parent], axis=-1), axis=0)
    path = tmp_path_factory.mktemp("single") / "cam1.safetensors"
    save_single_view(network, SingleViewManifest(studio.skeleton, config, camera, studio.rig.unit, tuple(lengths.tolist())), path)
    return path


def test_one_camera_gives_places_in_3d_with_a_single_view_network(
    trained: Trained, weights: Path, run: Run, tmp_path: Path
) -> None:
    video = f"cam1={trained.videos / 'cam1.mp4'}"
    answer = run("predict", "--camera", video, "--model", trained.model, "--single-view", weights, "--to", "csv,trc")
    assert answer.exit_code == 0, answer.output
    assert "from one camera by the lengths of limbs" in answer.stdout
    found = points(pd.read_csv(tmp_path / "tracks" / "cam1" / "csv" / "cam1_3d.csv"), trained, "xyz")
    truth, root = trained.studio.truth_xyz, trained.studio.skeleton.root
    camera = trained.studio.rig.cameras[0]
    depth, true_depth = (camera.depth(xyz) - camera.depth(xyz[:, [root]]) for xyz in (found, truth))
    assert np.nanmean(np.abs(depth - true_depth)) < 0.5 * np.abs(true_depth).mean(), "better than a flat figure"
    off = camera.depth(found[:, root]) / camera.depth(truth[:, root]) - 1
    assert np.nanmedian(np.abs(off)) < 0.15


def test_single_view_weights_are_for_one_camera_and_its_size(trained: Trained, weights: Path, run: Run, tmp_path: Path) -> None:
    single, calibration = ("--model", trained.model, "--single-view", weights), trained.videos.parent / "calibration.toml"
    several = run("predict", trained.videos, "--calibration", calibration, *single)
    assert "has cameras cam1, cam2, cam3; expected one, such as the video of" in several.stderr
    small = write_video(tmp_path / "small.mp4", [picture[:64, :64] for picture in trained.pictures(0, range(2))])
    unnamed = run("predict", small, *single)
    assert "camera 'camera' is not the weights' camera 'cam1'; if it is that one: --camera cam1=FILE" in unnamed.stderr
    other = run("predict", "--camera", f"cam1={small}", *single)
    assert "has pictures of 96 × 96, got 64 × 64" in other.stderr
