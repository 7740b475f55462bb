"""The camera that is wrong is named, the camera that started late is found, and good rigs are left in peace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from label_config.values import BadInputError, FloatArray
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.diagnosis import camera_errors, frame_offsets, suspect_camera

Ring = Callable[..., Rig]


def walk(n: int, seed: int = 0) -> FloatArray:
    """(n, 4, 3) mm, a body that moves about 20 mm per frame."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(size=(n, 1, 3)) * 12, axis=0) + rng.normal(size=(1, 4, 3)) * 150


def seen(rig: Rig, xyz: FloatArray) -> FloatArray:
    clean = rig.project(xyz)
    return clean + np.random.default_rng(5).normal(size=clean.shape)


def turned(rig: Rig, wrong: int) -> Rig:
    """The rig with one camera turned by about 1.5 degrees."""
    turn = Rotation.from_rotvec([0.02, -0.015, 0.01]).as_matrix()
    cameras = list(rig.cameras)
    cameras[wrong] = replace(
        cameras[wrong], R_cam_world=turn @ cameras[wrong].R_cam_world, t_cam_world=turn @ cameras[wrong].t_cam_world
    )
    return Rig(tuple(cameras))


@pytest.mark.parametrize("views", [3, 4, 6])
@pytest.mark.parametrize("wrong", [0, 2])
def test_a_turned_camera_is_named(make_ring: Ring, views: int, wrong: int) -> None:
    rig = make_ring(views)
    xy = seen(rig, walk(40))
    assert suspect_camera(turned(rig, wrong), xy).camera == f"cam{wrong}"


@pytest.mark.parametrize("views", [4, 6])
@pytest.mark.parametrize("wrong", [0, 2])
def test_a_turned_camera_has_the_largest_error(make_ring: Ring, views: int, wrong: int) -> None:
    rig = make_ring(views)
    assert camera_errors(turned(rig, wrong), seen(rig, walk(40))).argmax() == wrong


@pytest.mark.parametrize("views", [3, 5])
def test_a_good_rig_has_no_suspect(make_ring: Ring, views: int) -> None:
    rig = make_ring(views)
    verdict = suspect_camera(rig, seen(rig, walk(40)))
    assert verdict.camera is None
    # Residuals corrected for the degrees of freedom estimate the same noise, whichever camera is left out.
    np.testing.assert_allclose(verdict.without_px, verdict.error_px, rtol=0.25)
    # A single camera's noise of 1 px per axis has a median length of √(2 ln 2) = 1.18 px.
    assert verdict.error_px == pytest.approx(1.18, rel=0.2)


def test_of_two_cameras_neither_can_be_accused(make_ring: Ring) -> None:
    rig = make_ring(2)
    with pytest.raises(BadInputError, match="three cameras"):
        suspect_camera(rig, seen(rig, walk(5)))


def test_without_points_nobody_is_accused(make_ring: Ring) -> None:
    rig = make_ring(3)
    nothing = np.full((4, 3, 2, 2), np.nan)
    assert suspect_camera(rig, nothing).camera is None
    assert np.isnan(camera_errors(rig, nothing)).all()
    assert frame_offsets(rig, nothing, 2).offset.tolist() == [0, 0, 0]


@pytest.mark.parametrize("late", [-4, 3])
def test_a_late_camera_is_found(make_ring: Ring, late: int) -> None:
    rig, xyz = make_ring(4), walk(80)
    xy = seen(rig, xyz[10:70])
    xy[:, 2] = seen(rig, xyz[10 + late : 70 + late])[:, 2]
    # Its frame i shows the instant i + late of the others, whose instant i is therefore its frame i - late.
    found = frame_offsets(rig, xy, max_offset=6)
    np.testing.assert_array_equal(found.offset, [0, 0, -late, 0])
    assert found.error_px.shape == (4, 13)
    assert found.error_px[2].argmin() == 6 - late


def test_a_still_subject_gives_no_offset(make_ring: Ring) -> None:
    rig = make_ring(3)
    assert frame_offsets(rig, seen(rig, np.repeat(walk(1), 30, axis=0)), 5).offset.tolist() == [0, 0, 0]
    with pytest.raises(BadInputError, match="max_offset"):
        frame_offsets(rig, seen(rig, walk(5)), 5)
