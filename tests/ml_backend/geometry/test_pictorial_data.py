"""Pictorial structures on a real rig with hand-labelled mice (22 joints, 6 cameras)."""

from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat

from ml_backend.geometry.calibration import read_calibration
from ml_backend.geometry.pictorial import PictorialStructure, infer_points, keep_best
from ml_backend.geometry.pictorial_body import LimbLengths, box_centres, fit_side

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def mouse(data_folder: Any) -> Any:
    """Rig, labels in space (m, 22, 3) without incomplete poses, and in the pictures (m, 6, 22, 2)."""
    path = data_folder / "dannce_mouse_6cam/markerless_mouse_1/label3d_dannce.mat"
    rig = read_calibration(path, sizes_px={f"Camera{i}": (1152, 1024) for i in range(1, 7)}).rig
    labels = [cell[0, 0] for cell in loadmat(path, variable_names=["labelData"])["labelData"].ravel()]
    xyz = labels[0]["data_3d"].reshape(-1, 22, 3)
    xy_px = np.stack([label["data_2d"].reshape(-1, 22, 2) for label in labels], axis=1)
    complete = np.isfinite(xyz).all(axis=(1, 2))
    return rig, xyz[complete], xy_px[complete]


def nearest_tree(xyz: Any) -> Any:
    """Limbs by joining every joint to the nearest one that is already in the tree (Prim)."""
    distance = np.median(np.linalg.norm(xyz[:, :, None] - xyz[:, None], axis=-1), axis=0)
    inside, limbs = [0], []
    while len(inside) < xyz.shape[1]:
        outside = [k for k in range(xyz.shape[1]) if k not in inside]
        a, b = min(((a, b) for a in inside for b in outside), key=lambda pair: distance[pair])
        inside.append(b)
        limbs.append((a, b))
    return limbs


def test_mice_are_found_although_one_camera_is_wrong(mouse: Any) -> None:
    rig, xyz, xy_px = mouse
    train, test = slice(0, 30), slice(30, 36)
    limbs = LimbLengths.from_labels(xyz[train], nearest_tree(xyz[train]))
    model = PictorialStructure(22, limbs, fit_side(xyz[train]), grid=32)
    wrong = xy_px[test].copy()
    wrong[:, 2] += (60, -40)
    pose = infer_points(model, rig, wrong, None, 6.0, box_centres(xyz[test], model.side_world))
    error = np.linalg.norm(pose.mean_world - xyz[test], axis=-1)
    assert np.median(error) < model.spacing_world / 2
    assert keep_best(pose.logdet).sum() == 22 * 5  # 0.7 of 6 frames, rounded up


def test_joint_seen_by_one_camera_only_is_the_doubtful_one(mouse: Any) -> None:
    rig, xyz, xy_px = mouse
    limbs = LimbLengths.from_labels(xyz[:30], nearest_tree(xyz[:30]))
    model = PictorialStructure(22, limbs, fit_side(xyz[:30]), grid=32)
    hidden = xy_px[30:34].copy()
    hidden[:, 1:, 10] = np.nan
    pose = infer_points(model, rig, hidden, None, 6.0, box_centres(xyz[30:34], model.side_world))
    full = infer_points(model, rig, xy_px[30:34], None, 6.0, box_centres(xyz[30:34], model.side_world))
    assert (pose.logdet[:, 10] > full.logdet[:, 10] + 0.5).all()
