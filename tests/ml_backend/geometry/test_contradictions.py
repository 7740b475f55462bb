"""A point that a camera cannot have seen contradicts the others; it is not "no view"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from label_config.values import FloatArray
from ml_backend.geometry import lens
from ml_backend.geometry.calibration.check_points import check_points
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.geometry.consistency import multi_view_consistency, outlier_ratio, trusted
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.labels.label_check import contradicted_clicks

Ring = Callable[..., Rig]
#: An ordinary wide lens fitted with two radial terms: the outer fifth of the picture lies beyond its polynomial.
WIDE = (-0.35, 0.04, 0.0, 0.0)
CORNER = np.array([5.0, 5.0])


@pytest.fixture
def rig(make_ring: Ring) -> Rig:
    """Four cameras, the last of them with a wide lens."""
    cameras = make_ring(4).cameras
    K = np.array([[1300.0, 0, 959.5], [0, 1300.0, 539.5], [0, 0, 1]])
    return Rig((*cameras[:3], replace(cameras[3], K=K, dist=np.array(WIDE))))


@pytest.fixture
def seen(rig: Rig) -> FloatArray:
    """(2, V, 3, 2) exact points; in frame 1 the wide camera has keypoint 0 in a corner that its lens model cannot show."""
    xyz = np.random.default_rng(1).uniform(-300, 300, (2, 3, 3))
    xy = rig.project(xyz)
    xy[1, 3, 0] = CORNER
    assert np.isnan(rig.cameras[3].undistort(CORNER)).all(), "the corner must be impossible"
    return xy


def test_how_much_of_an_ordinary_wide_picture_is_impossible(rig: Rig) -> None:
    grid = np.stack(np.meshgrid(np.arange(0, 1920, 20.0), np.arange(0, 1080, 20.0)), axis=-1)
    assert 0.05 < np.isnan(rig.cameras[3].undistort(grid)[..., 0]).mean() < 0.35


def test_its_residual_is_the_distance_from_where_the_others_see_it(rig: Rig, seen: FloatArray) -> None:
    found = triangulate_robust(rig, seen)
    expected = np.linalg.norm(rig.project(found.xyz_world)[1, 3, 0] - CORNER)
    assert found.reprojection_px[1, 3, 0] == pytest.approx(expected)
    assert expected > 500
    assert not found.inlier[1, 3, 0]
    assert found.inlier[1, :3, 0].all()
    score, support = multi_view_consistency(found.reprojection_px)
    assert support[1] == 12
    assert score[1] == pytest.approx(expected**2 / 12, rel=1e-6)
    assert outlier_ratio(found.inlier, found.reprojection_px)[1] == pytest.approx(1 / 12)
    assert np.unravel_index(found.reprojection_px[1].argmax(), found.reprojection_px[1].shape) == (3, 0)


def test_a_frame_with_it_is_not_pseudo_labelled(rig: Rig, seen: FloatArray) -> None:
    assert trusted(triangulate_robust(rig, seen)).all(axis=-1).tolist() == [True, False]


def test_the_quality_check_names_the_click(rig: Rig, seen: FloatArray) -> None:
    (conflict,) = contradicted_clicks(rig, seen)
    assert (conflict.frame, conflict.view, conflict.keypoint, conflict.certain) == (1, 3, 0, True)


def test_calibration_check_counts_them(rig: Rig) -> None:
    xy = rig.project(np.random.default_rng(2).uniform(-300, 300, (10, 5, 3)))
    xy[:, 3] = CORNER + np.arange(5)[:, None]
    errors = [finding for finding in check_points(rig, xy) if finding.level == "error"]
    assert {finding.camera for finding in errors} == {"cam3"}
    assert any("100% of the points" in finding.message and "lens" in finding.message for finding in errors)


def test_a_camera_that_points_elsewhere_contradicts(rig: Rig) -> None:
    """The place lies beyond the reach of its lens, which would fold it back into the middle of the picture."""
    camera = rig.cameras[3]
    angle = np.radians(68)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    away = replace(camera, R_cam_world=turn @ camera.R_cam_world, t_cam_world=turn @ camera.t_cam_world)
    elsewhere = Rig((*rig.cameras[:3], away))
    point = np.zeros((1, 1, 3))
    assert np.isnan(elsewhere.project(point)[0, 3]).all(), "not folded back"
    xy = elsewhere.project(point)
    xy[0, 3, 0] = (900.0, 500.0)
    found = triangulate_robust(elsewhere, xy)
    assert found.reprojection_px[0, 3, 0] == pytest.approx(np.hypot(1920, 1080))
    assert not trusted(found)[0].all()


def test_a_place_behind_a_camera_contradicts_even_where_its_mirror_image_fits(rig: Rig) -> None:
    flip = np.diag([-1.0, 1, -1])
    camera = rig.cameras[0]
    behind = Rig(
        (replace(camera, R_cam_world=flip @ camera.R_cam_world, t_cam_world=flip @ camera.t_cam_world), *rig.cameras[1:3])
    )
    xyz = np.full((1, 1, 3), 50.0)
    xy = behind.project(xyz)
    x, y, z = behind.cameras[0].R_cam_world @ xyz[0, 0] + behind.cameras[0].t_cam_world
    assert z < 0
    xy[0, 0, 0] = behind.cameras[0].K[:2, :2] @ (x / z, y / z) + behind.cameras[0].K[:2, 2]
    found = triangulate_robust(behind, xy)
    assert found.reprojection_px[0, 0, 0] == pytest.approx(np.hypot(1920, 1080))


def test_two_views_of_which_one_is_impossible_do_not_agree(rig: Rig) -> None:
    pair = Rig((rig.cameras[0], rig.cameras[3]))
    xy = pair.project(np.zeros((1, 1, 3)))
    xy[0, 1, 0] = CORNER
    found = triangulate_robust(pair, xy)
    np.testing.assert_allclose(found.reprojection_px[0, :, 0], [np.nan, np.hypot(1920, 1080)])
    assert np.isnan(found.xyz_world).all()
    assert outlier_ratio(found.inlier, found.reprojection_px)[0] == 1
    alone = triangulate_robust(Rig(pair.cameras), np.where([[[[True]], [[False]]]], np.nan, xy))
    assert np.isnan(alone.reprojection_px).all(), "one view says nothing about agreement"


@pytest.mark.parametrize(
    ("model", "dist", "expected"),
    [
        ("pinhole", (-0.3, 0.0, 0.0, 0.0), np.sqrt(1 / 0.9)),  # r (1 − 0.3 r²) turns where 1 = 0.9 r²
        ("pinhole", (0.1, 0.0, 0.0, 0.0), np.inf),
        ("pinhole", (0, 0, 0.001, 0, 0, -0.25, 0, 0), 2.0),  # a pole of the rational model
        ("fisheye", (-0.25, 0.0, 0.0, 0.0), np.tan(np.sqrt(1 / 0.75))),
        ("fisheye", (-0.1, 0.0, 0.0, 0.0), np.inf),  # turns only behind the camera
    ],
)
def test_reach_of_a_lens(model: Any, dist: Any, expected: Any) -> None:
    assert lens.reach(model, np.array(dist, dtype=np.float64)) == pytest.approx(expected)


def test_a_point_beyond_the_reach_has_no_place_in_the_picture(rig: Rig) -> None:
    camera = rig.cameras[3]
    radius = lens.reach("pinhole", camera.dist)
    here = Camera("here", camera.K, np.eye(3), np.zeros(3), camera.dist, size_px=camera.size_px)
    inside, outside = here.project(np.array([[0.99 * radius, 0, 1], [1.01 * radius, 0, 1]]))
    assert np.isfinite(inside).all()
    assert np.isnan(outside).all()
