"""Real calibrations of three tools (see SOURCE.md beside each recording)."""

import csv
import json
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat

from label_config.values import FloatArray
from ml_backend.geometry.calibration import read_calibration
from ml_backend.geometry.calibration.check import check_rig

pytestmark = pytest.mark.data


def test_fly_rig_has_extreme_focal_lengths(data_folder: Any) -> None:
    calibration = read_calibration(data_folder / "eks/fly/calibration.toml")
    assert calibration.format == "anipose"
    assert calibration.rig.names == ("Cam-A", "Cam-B", "Cam-C")
    assert calibration.rig.size_px.tolist() == [[832, 632]] * 3
    np.testing.assert_allclose([c.K[0, 0] for c in calibration.rig.cameras], [20003.023, 37108.388, 136330.250], atol=1e-3)
    assert {finding.level for finding in check_rig(calibration.rig)} == {"warning"}  # nearly orthographic, nothing worse


def test_fly_rig_triangulates_to_a_pixel(data_folder: Any) -> None:
    """Linear triangulation of the first model's points in undistorted pixels: 1.59 px mean, 1.34 px median per SOURCE.md."""
    from ml_backend.geometry.triangulation import triangulate_linear

    rig = read_calibration(data_folder / "eks/fly/calibration.toml").rig
    views = []
    for name in rig.names:
        file = next((data_folder / "eks/fly").glob(f"*{name}*rng=0.csv"))
        rows = np.array(list(csv.reader(file.read_text().splitlines()))[3:], dtype=float)
        views.append(rows[:, 1:].reshape(len(rows), -1, 3)[..., :2])
    xy_px = np.stack(views, axis=1)
    error = np.linalg.norm(rig.project(triangulate_linear(rig, xy_px)) - xy_px, axis=-1)
    assert error.mean() < 1.7
    assert np.median(error) < 1.45


def people_in(folder: Any, camera: int, frame: int) -> FloatArray:
    """(people, 25, 2) OpenPose points of one picture, NaN below confidence 0.4."""
    document = json.loads((folder / f"pose/cam{camera:02d}_json/cam{camera:02d}.{frame:04d}.json").read_text())
    people = np.array([person["pose_keypoints_2d"] for person in document["people"]]).reshape(-1, 25, 3)
    return np.where(people[..., 2:] > 0.4, people[..., :2], np.nan)


def test_qualisys_cameras_agree_about_a_person(data_folder: Any) -> None:
    """SOURCE.md: 13.3 px mean, 12.2 px median, choosing the person in every picture by the lowest reprojection error."""
    from ml_backend.geometry.triangulation import triangulate_linear

    folder = data_folder / "pose2sim_single_4cam"
    rig = read_calibration(folder / "calibration/Calib.qca.txt").rig
    errors = []
    for frame in range(0, 100, 10):
        pictures = [people_in(folder, camera, frame) for camera in (1, 2, 3, 4)]
        choices = []
        for chosen in product(*map(range, map(len, pictures))):
            xy_px = np.stack([people[person] for people, person in zip(pictures, chosen, strict=True)])
            choices.append(np.linalg.norm(rig.project(triangulate_linear(rig, xy_px)) - xy_px, axis=-1))
        errors.append(min(choices, key=np.nanmean))
    assert np.nanmean(errors) < 16
    assert np.nanmedian(errors) < 14
    assert np.isfinite(errors).mean() > 0.7


def test_qualisys_cameras_have_names_and_sizes(data_folder: Any) -> None:
    calibration = read_calibration(data_folder / "pose2sim_single_4cam/calibration/Calib.qca.txt")
    assert calibration.format == "qualisys"
    assert calibration.rig.names == ("cam_01", "cam_02", "cam_03", "cam_04")
    assert calibration.rig.size_px.tolist() == [[1088, 1920]] * 4
    assert check_rig(calibration.rig) == []


@pytest.mark.parametrize("recording", ["markerless_mouse_1", "markerless_mouse_2"])
def test_hand_labels_in_space_project_onto_the_hand_labels_in_the_pictures(recording: Any, data_folder: Any) -> None:
    path = data_folder / "dannce_mouse_6cam" / recording / "label3d_dannce.mat"
    calibration = read_calibration(path, sizes_px={f"Camera{i}": (1152, 1024) for i in range(1, 7)})
    assert calibration.format == "dannce"
    assert "R stored transposed: transposed" in calibration.notes
    assert check_rig(calibration.rig) == []
    labels = [cell[0, 0] for cell in loadmat(path, variable_names=["labelData"])["labelData"].ravel()]
    xyz = labels[0]["data_3d"].reshape(len(labels[0]["data_3d"]), -1, 3)
    projected = calibration.rig.project(xyz)
    error = np.stack(
        [np.linalg.norm(projected[:, v] - label["data_2d"].reshape(len(xyz), -1, 2), axis=-1) for v, label in enumerate(labels)]
    )
    assert np.nanmean(error) < 0.5
    assert np.nanmax(error) < 2.0
    assert np.isfinite(error).sum() > 10_000
