"""Cameras against OpenCV, and what must hold for any lens."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError, FloatArray
from ml_backend.geometry import lens
from ml_backend.geometry.cameras import Camera, Rig

K = np.array([[800.0, 0, 401.2], [0, 820.0, 297.5], [0, 0, 1]])
TURN = np.array([0.3, -0.4, 0.2])
SHIFT = np.array([0.1, -0.2, 5.0])
BROWN = np.array([-0.2, 0.05, 0.001, -0.002, 0.01, 0.02, -0.01, 0.003, 0.001, -0.002, 0.002, 0.0005, 0.02, -0.03])


def camera(**changes: Any) -> Camera:
    settings_: dict[str, Any] = {
        "name": "left",
        "K": K,
        "R_cam_world": cv2.Rodrigues(TURN)[0],
        "t_cam_world": SHIFT,
        "dist": np.zeros(0),
        "model": "pinhole",
        "size_px": (800, 600),
    }
    return Camera(**{**settings_, **changes})


def scene(*shape: int) -> FloatArray:
    return np.random.default_rng(0).normal(size=(*shape, 3)) * 0.8


@pytest.mark.parametrize("count", [0, 4, 5, 8, 12, 14])
def test_pinhole_projection_equals_opencv(count: int) -> None:
    points = scene(40)
    expected, _ = cv2.projectPoints(points, TURN, SHIFT, K, BROWN[:count])
    np.testing.assert_allclose(camera(dist=BROWN[:count]).project(points), expected[:, 0], atol=1e-9)


@pytest.mark.parametrize("dist", [(), (-0.05, 0.02, -0.004, 0.001)])
def test_fisheye_projection_equals_opencv(dist: tuple[float, ...]) -> None:
    points = scene(40)
    expected, _ = cv2.fisheye.projectPoints(points[:, None], TURN, SHIFT, K, np.array(dist or (0.0,) * 4))
    np.testing.assert_allclose(camera(dist=dist, model="fisheye").project(points), expected[:, 0], atol=1e-9)


@pytest.mark.parametrize("count", [0, 4, 5, 8, 12, 14])
def test_undistortion_inverts_the_lens_to_1e_9_normalised_units(count: int) -> None:
    bent, ideal = camera(dist=BROWN[:count]), camera()
    points = scene(2, 3, 50)
    undistorted = bent.undistort(bent.project(points))
    assert undistorted.shape == (2, 3, 50, 2)
    assert np.abs(undistorted - ideal.project(points)).max() / 800 < 1e-9


def test_fisheye_undistortion_inverts_up_to_the_edge_of_the_half_space() -> None:
    fisheye = camera(dist=(-0.02, 0.003, 0.0, 0.0), model="fisheye", R_cam_world=np.eye(3), t_cam_world=np.zeros(3))
    angle = np.radians([0, 1e-6, 20, 60, 85])
    points = np.stack((np.sin(angle), 0 * angle, np.cos(angle)), axis=-1)
    rays = fisheye.rays(fisheye.project(points))
    np.testing.assert_allclose(rays, points, atol=1e-9)


def test_lens_jacobian_is_the_derivative() -> None:
    x, y = np.random.default_rng(1).uniform(-0.4, 0.4, (2, 30))
    warp, step = lens._brown_conrady(BROWN, x, y), 1e-6
    for dx, dy, first, second in ((step, 0, warp.xx, warp.yx), (0, step, warp.xy, warp.yy)):
        ahead, behind = lens._brown_conrady(BROWN, x + dx, y + dy), lens._brown_conrady(BROWN, x - dx, y - dy)
        np.testing.assert_allclose((ahead.x - behind.x) / (2 * step), first, atol=1e-8)
        np.testing.assert_allclose((ahead.y - behind.y) / (2 * step), second, atol=1e-8)


@pytest.mark.parametrize("model", ["pinhole", "fisheye"])
def test_enlargement_is_the_root_of_the_area_ratio(model: Any) -> None:
    bent = camera(dist=(-0.2, 0.05, 0.001, -0.002), model=model)
    seen = np.array([[120.0, 90.0], [401.2, 297.5], [700.0, 500.0]])
    ideal, scale = bent.undistort_scaled(seen)
    step = 0.01
    across = [bent.distort(ideal + shift) - bent.distort(ideal - shift) for shift in np.eye(2) * step]
    area = np.abs(across[0][:, 0] * across[1][:, 1] - across[0][:, 1] * across[1][:, 0]) / (2 * step) ** 2
    np.testing.assert_allclose(scale**2, area, rtol=1e-5)


def test_a_point_beyond_the_fold_of_the_lens_is_nan() -> None:
    # x (1 - x²/2) has its maximum 0.544 at x = 0.816, so 0.6 is unreachable from the front (x = -1.66 maps to it, mirrored);
    # x (1 - x²/2) = 1/2 factors into (x - 1)(x² + x - 1) = 0, whose root before the fold is the golden ratio's inverse.
    bent = camera(dist=(-0.5, 0, 0, 0), K=np.eye(3))
    found = bent.undistort(np.array([[0.5, 0.0], [0.6, 0.0], [np.nan, 0.0]]))
    assert found[0, 0] == pytest.approx((np.sqrt(5) - 1) / 2, abs=1e-11)
    assert np.isnan(found[1:]).all()
    beyond = np.stack((np.linspace(0.545, 3, 200), np.zeros(200)), axis=-1)
    assert np.isnan(bent.undistort(beyond)).all()


def test_points_behind_the_camera_are_nan() -> None:
    facing = camera(R_cam_world=np.eye(3), t_cam_world=np.zeros(3))
    assert np.isnan(facing.project(np.array([[0, 0, -1.0], [0, 0, 0.0]]))).all()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.lists(st.floats(0.5, 5), min_size=3, max_size=3))
def test_rays_centre_and_depth_give_the_point_back(turn: list[float], at: list[float]) -> None:
    R = cv2.Rodrigues(np.array(turn))[0]
    in_camera = np.array([at[0] - 2, at[1] - 2, at[2] + 2])
    cam = camera(R_cam_world=R, dist=BROWN[:5] * 0.2)
    point = R.T @ (in_camera - SHIFT)
    direction = cam.rays(cam.project(point[None]))[0]
    np.testing.assert_allclose(cam.centre + direction * np.linalg.norm(in_camera), point, atol=1e-7)
    assert cam.depth(point) == pytest.approx(in_camera[2])
    assert direction @ cam.axis > 0


def test_crop_shifts_and_keeps_the_lens() -> None:
    cam = camera(dist=BROWN[:5])
    part = cam.cropped(100, 50, 300, 200)
    np.testing.assert_allclose(part.project(scene(9)), cam.project(scene(9)) - (100, 50), atol=1e-9)
    assert part.size_px == (300, 200)


def test_resizing_maps_picture_corners_to_picture_corners() -> None:
    cam = camera(dist=BROWN[:5])
    half = cam.resized((400, 200))
    # Pixel centres are whole numbers, so the corner of the picture is (-0.5, -0.5) before and after.
    expected = (cam.project(scene(9)) + 0.5) * (400 / 800, 200 / 600) - 0.5
    np.testing.assert_allclose(half.project(scene(9)), expected, atol=1e-9)


def test_resizing_agrees_with_the_pixels_that_opencv_averages() -> None:
    picture = np.zeros((8, 8), dtype=np.float32)
    picture[2:4, 4:6] = 1  # centre of mass at (4.5, 2.5)
    small = cv2.resize(picture, (4, 4), interpolation=cv2.INTER_AREA)
    y, x = np.argwhere(small == 1)[0]
    cam = camera(K=np.array([[1.0, 0, 4.5], [0, 1, 2.5], [0, 0, 1]]), size_px=(8, 8))
    np.testing.assert_allclose(cam.resized((4, 4)).K[:2, 2], (x, y))


def test_skew_is_part_of_the_projection() -> None:
    skewed = K.copy()
    skewed[0, 1] = -5.8
    points = scene(9)
    cam = camera(K=skewed, dist=BROWN[:5])
    ideal = points @ cam.R_cam_world.T + SHIFT
    homogeneous = camera(K=skewed).project(points)
    np.testing.assert_allclose(homogeneous, ((ideal / ideal[:, 2:]) @ skewed.T)[:, :2], atol=1e-9)
    np.testing.assert_allclose(cam.undistort(cam.project(points)), homogeneous, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"K": K.T}, "transposed"),
        ({"K": K * 2}, "last row"),
        ({"K": np.diag([-800.0, 800, 1])}, "positive focal"),
        ({"K": np.eye(4)}, "shape"),
        ({"R_cam_world": np.diag([1.0, 1, -1])}, "determinant"),
        ({"R_cam_world": np.eye(3) * 1.01}, "orthonormal"),
        ({"t_cam_world": [0, np.nan, 1]}, "finite"),
        ({"t_cam_world": [[0], [0], [1]]}, "shape"),
        ({"dist": (0.1, 0.2, 0.3)}, "coefficients"),
        ({"dist": (0.1,) * 5, "model": "fisheye"}, "coefficients"),
        ({"model": "mirror"}, "model"),
        ({"size_px": (0, 600)}, "size_px"),
    ],
)
def test_impossible_cameras_are_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInputError, match=f"(?s)'left'.*{words}"):
        camera(**changes)


def test_cameras_are_immutable_copies() -> None:
    given_matrix = K.copy()
    cam = camera(K=given_matrix)
    given_matrix[0, 0] = 1
    assert cam.K[0, 0] == 800
    with pytest.raises(ValueError, match="read-only"):
        cam.K[0, 0] = 1


def test_rig_projects_views_on_the_third_last_axis(make_ring: Callable[..., Rig]) -> None:
    rig = make_ring(3, dist=(-0.1, 0.02, 0, 0, 0))
    points = np.random.default_rng(0).normal(size=(4, 7, 3)) * 200
    seen = rig.project(points)
    assert seen.shape == (4, 3, 7, 2)
    np.testing.assert_array_equal(seen[:, 1], rig.cameras[1].project(points))
    np.testing.assert_array_equal(rig.undistort(seen)[:, 2], rig.cameras[2].undistort(seen[:, 2]))


def test_rig_subset_keeps_the_order_given(make_ring: Callable[..., Rig]) -> None:
    rig = make_ring(4)
    assert rig.subset(["cam3", "cam1"]).names == ("cam3", "cam1")
    with pytest.raises(BadInputError, match=r"no camera named top.*cam0, cam1"):
        rig.subset(["top"])


def test_rig_refuses_repeated_names_no_cameras_and_foreign_shapes(make_ring: Callable[..., Rig]) -> None:
    rig = make_ring(2)
    with pytest.raises(BadInputError, match="cam0"):
        Rig((rig.cameras[0], rig.cameras[0]))
    with pytest.raises(BadInputError, match="at least one"):
        Rig(())
    with pytest.raises(BadInputError, match="V = 2"):
        rig.undistort(np.zeros((5, 3, 7, 2)))
    with pytest.raises(BadInputError, match="K, 3"):
        rig.project(np.zeros(3))


def test_json_round_trip(make_ring: Callable[..., Rig]) -> None:
    rig = Rig((camera(dist=BROWN), camera(name="right", model="fisheye", dist=BROWN[:4])), unit="m")
    again = Rig.from_json(json.loads(json.dumps(rig.to_json())))
    assert again == rig
    assert hash(again) == hash(rig)
    assert again != make_ring(2)
    with pytest.raises(BadInputError, match=r"'left'.*R_cam_world"):
        Camera.from_json({"name": "left", "K": K.tolist()})
    with pytest.raises(BadInputError, match="cameras"):
        Rig.from_json({})


def test_pictures_reach_half_a_pixel_beyond_the_middles_of_their_outermost_pixels() -> None:
    rig = Rig((camera(), camera(name="small", size_px=(20, 10))))
    corners = [(-0.5, -0.5), (19.5, 9.5), (-0.51, 0.0), (19.51, 0.0), (0.0, 9.51), (np.nan, 0.0)]
    inside = rig.inside(np.tile(np.array(corners), (3, 2, 1, 1)))
    assert inside.shape == (3, 2, 6)
    np.testing.assert_array_equal(inside[1, 0], [True, True, False, True, True, False])
    np.testing.assert_array_equal(inside[1, 1], [True, True, False, False, False, False])
