"""A click's ray, and how far along it the other cameras put the point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from label_config.values import FloatArray
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.geometry.viewing_ray import best_on_ray

PLACE = np.array([40.0, -60.0, 25.0])
LENS = (-0.3, 0.1, 0.001, -0.002)


def limits(rig: Rig, px: float = 10.0) -> FloatArray:
    return np.full(len(rig), px)


def seen(rig: Rig, place: FloatArray = PLACE) -> FloatArray:
    """(V, 2) where the cameras see the place."""
    return rig.project(place[None])[:, 0]


@pytest.mark.parametrize("dist", [(), LENS])
@pytest.mark.parametrize("views", [2, 3, 12])
def test_without_noise_the_place_is_found(make_ring: Callable[..., Rig], views: int, dist: tuple[float, ...]) -> None:
    rig = make_ring(views, dist=dist)
    others = seen(rig)
    found = best_on_ray(rig, 1, others[1], others, limits(rig))
    assert found is not None
    np.testing.assert_allclose(found.xyz_world, PLACE, atol=1e-3)
    assert np.isnan(found.off_px[1])  # the click is no witness for itself
    np.testing.assert_allclose(np.delete(found.off_px, 1), 0, atol=1e-3)


def test_two_cameras_at_right_angles_have_a_closed_form() -> None:
    """One camera looks along x, the other along z; a click straight ahead has its depth from the other's column alone."""
    K = np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]])
    ahead = Camera("ahead", K, np.eye(3), np.array([0.0, 0, 1000]), np.zeros(0), "pinhole", (1001, 1001))
    aside = Camera(
        "aside", K, np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]]), np.array([0.0, 0, 1000]), np.zeros(0), "pinhole", (1001, 1001)
    )
    rig = Rig((ahead, aside))
    # At (0, 0, z) aside shows column 500 - z; the row, 40 px off, is across the ray and cannot move the point.
    others = np.array([[np.nan, np.nan], [500.0 - 123, 540]])
    found = best_on_ray(rig, 0, np.array([500.0, 500]), others, limits(rig))
    assert found is not None
    np.testing.assert_allclose(found.xyz_world, [0, 0, 123], atol=1e-6)
    np.testing.assert_allclose(found.off_px[1], 40, atol=1e-6)


def test_a_wild_prediction_neither_decides_nor_is_averaged_in(make_ring: Callable[..., Rig]) -> None:
    rig = make_ring(5)
    others = seen(rig)
    others[3] = seen(rig, PLACE + [0, 0, -250])[3]
    found = best_on_ray(rig, 0, others[0], others, limits(rig))
    assert found is not None
    assert np.linalg.norm(found.xyz_world - PLACE) < 1.0
    assert found.off_px[3] > 100


def test_the_place_stays_on_the_ray_whatever_the_others_say(make_ring: Callable[..., Rig]) -> None:
    rig = make_ring(6)
    rng = np.random.default_rng(3)
    click = seen(rig)[2] + [4, -3]
    found = best_on_ray(rig, 2, click, seen(rig) + rng.normal(0, 8, (6, 2)), limits(rig))
    assert found is not None
    np.testing.assert_allclose(rig.cameras[2].project(found.xyz_world), click, atol=1e-6)


def test_noise_of_the_others_averages_out(make_ring: Callable[..., Rig]) -> None:
    """The error along the ray falls with the number of cameras, at least by half from one witness to eleven."""
    error = {}
    for views in (2, 12):
        rig, rng = make_ring(views), np.random.default_rng(0)
        clean = seen(rig)
        places = [best_on_ray(rig, 0, clean[0], clean + rng.normal(0, 5, clean.shape), limits(rig)) for _ in range(60)]
        error[views] = np.median([np.linalg.norm(place.xyz_world - PLACE) for place in places if place is not None])
    assert error[12] < error[2] / 2


def test_nothing_is_said_without_a_witness(make_ring: Callable[..., Rig]) -> None:
    rig = make_ring(3)
    clean = seen(rig)
    nothing = np.full((3, 2), np.nan)
    own = np.where([[True], [False], [False]], clean, np.nan)
    assert best_on_ray(rig, 0, clean[0], nothing, limits(rig)) is None
    assert best_on_ray(rig, 0, clean[0], own, limits(rig)) is None


def test_rays_that_meet_behind_the_camera_say_nothing() -> None:
    """The other camera stands aside and looks the same way: its point lies on the outer side, so the rays part."""
    K = np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]])
    cameras = [
        Camera(name, K, np.eye(3), np.array([x, 0.0, 0.0]), np.zeros(0), "pinhole", (1001, 1001))
        for name, x in (("a", 0.0), ("b", -100.0))
    ]
    others = np.array([[np.nan, np.nan], [900.0, 500]])
    rig = Rig(tuple(cameras))
    assert best_on_ray(rig, 0, np.array([500.0, 500]), others, limits(rig)) is None


def test_one_camera_twice_says_nothing_of_the_depth(make_ring: Callable[..., Rig]) -> None:
    rig = make_ring(2)
    twins = Rig((rig.cameras[0], Camera("twin", **{name: getattr(rig.cameras[0], name) for name in _FIELDS})))
    clean = seen(twins)
    assert best_on_ray(twins, 0, clean[0], clean, limits(twins)) is None


_FIELDS = ("K", "R_cam_world", "t_cam_world", "dist", "model", "size_px")
