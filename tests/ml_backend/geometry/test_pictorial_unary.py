from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, Float32Array
from ml_backend.geometry.pictorial_unary import heatmap_unary, point_unary, voxel_points

FLOOR = 1e-3
IDENTITY = np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])


def ramp(height: int = 5, width: int = 7) -> Float32Array:
    """A map that is linear in x and y, on which bilinear look-up is exact."""
    y, x = np.mgrid[:height, :width]
    return np.asarray(0.02 * x + 0.05 * y, dtype=np.float32)


def test_voxels_fill_the_cube_to_its_faces() -> None:
    voxels = voxel_points(np.array([1.0, 2.0, 3.0]), 4.0, 3).reshape(3, 3, 3, 3)
    np.testing.assert_allclose(voxels[0, 0, 0], [-1, 0, 1])
    np.testing.assert_allclose(voxels[2, 1, 0], [3, 2, 1])


def test_bilinear_look_up_is_exact_on_a_ramp() -> None:
    places = np.array([[[0.0, 0.0], [2.25, 1.5], [6.0, 4.0], [5.9, 3.9]]])
    total, seen = heatmap_unary(places, ramp()[None, None], IDENTITY, floor=FLOOR)
    expected = np.log(0.02 * places[0, :, 0] + 0.05 * places[0, :, 1] + FLOOR)
    np.testing.assert_allclose(total[0], expected, rtol=1e-5)
    assert seen.all()


def test_heatmap_affine_maps_image_pixels_to_cells() -> None:
    affine = np.array([[[0.25, 0.0, -3.0], [0.0, 0.5, 1.0]]])  # x_hm = x/4 − 3, y_hm = y/2 + 1
    total, _ = heatmap_unary(np.array([[[20.0, 3.0]]]), ramp()[None, None], affine, floor=FLOOR)
    np.testing.assert_allclose(total[0, 0], np.log(0.02 * 2 + 0.05 * 2.5 + FLOOR), rtol=1e-5)


def test_views_add_up_in_the_log_domain() -> None:
    places = np.array([[[1.0, 1.0]], [[3.0, 2.0]]])
    maps = np.stack([ramp(), 2 * ramp()])[:, None]
    total, _ = heatmap_unary(places, maps, np.repeat(IDENTITY, 2, axis=0), floor=FLOOR)
    np.testing.assert_allclose(total[0, 0], np.log(0.07 + FLOOR) + np.log(0.32 + FLOOR), rtol=1e-5)


@pytest.mark.parametrize("missing", ["map", "affine"])
def test_missing_view_says_nothing_anywhere(missing: Any) -> None:
    maps, affine = ramp()[None, None].copy(), IDENTITY.copy()
    (maps if missing == "map" else affine)[:] = np.nan
    total, seen = heatmap_unary(np.array([[[1.0, 1.0], [99.0, 0.0], [np.nan, np.nan]]]), maps, affine, floor=FLOOR)
    np.testing.assert_array_equal(total, 0)
    assert not seen.any()


def test_one_joint_may_miss_its_map_while_another_has_it() -> None:
    maps = np.stack([np.full((5, 7), np.nan, dtype=np.float32), ramp()])[None]
    total, seen = heatmap_unary(np.array([[[1.0, 1.0]]]), maps, IDENTITY, floor=FLOOR)
    assert seen.tolist() == [False, True]
    np.testing.assert_allclose(total[:, 0], [0, np.log(0.07 + FLOOR)], rtol=1e-5)


@pytest.mark.parametrize(("veto", "expected"), [(False, np.log(0.16 + FLOOR)), (True, np.log(FLOOR))])
def test_unseen_voxels_get_the_mean_or_the_veto(veto: Any, expected: Any) -> None:
    places = np.array([[[-0.6, 2.0], [6.6, 2.0], [np.nan, np.nan]]])  # left, right, behind the camera; ramp's mean is 0.16
    total, _ = heatmap_unary(places, ramp()[None, None], IDENTITY, floor=FLOOR, veto_unseen=veto)
    np.testing.assert_allclose(total[0], expected, rtol=1e-5)


def test_point_unary_is_a_gaussian_over_the_floor() -> None:
    places = np.array([[[10.0, 10.0], [13.0, 14.0], [90.0, 10.0]]])  # 0, 5 and 80 px away
    total, seen = point_unary(
        places, np.array([[[10.0, 10.0]]]), np.array([[0.8]]), np.array([5.0]), np.array([[100.0, 50.0]]), floor=FLOOR
    )
    expected = np.log(0.8 * np.exp(-(np.array([0.0, 5.0, 80.0]) ** 2) / 50) + FLOOR)
    np.testing.assert_allclose(total[0], expected, rtol=1e-4)
    assert seen.all()


def test_point_unary_outside_the_picture_is_the_mean_of_the_gaussian() -> None:
    outside = np.array([[[-3.0, 10.0], [np.nan, np.nan]]])
    total, _ = point_unary(outside, np.array([[[50.0, 25.0]]]), None, np.array([4.0]), np.array([[100.0, 50.0]]), floor=FLOOR)
    y, x = np.mgrid[:50, :100]
    mean = np.exp(-((x - 50.0) ** 2 + (y - 25.0) ** 2) / 32).mean()
    np.testing.assert_allclose(total[0], np.log(mean + FLOOR), rtol=1e-3)


@pytest.mark.parametrize("field", ["point", "confidence"])
def test_missing_point_says_nothing(field: Any) -> None:
    xy, confidence = np.array([[[1.0, 1.0]]]), np.array([[0.5]])
    (xy if field == "point" else confidence)[:] = np.nan
    total, seen = point_unary(np.zeros((1, 2, 2)), xy, confidence, np.array([2.0]), np.array([[9.0, 9.0]]), floor=FLOOR)
    np.testing.assert_array_equal(total, 0)
    assert not seen.any()


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(BadInputError, match=r"heatmap_from_image: expected shape \(1, 2, 3\), got \(2, 3\)"):
        heatmap_unary(np.zeros((1, 2, 2)), ramp()[None, None], IDENTITY[0], floor=FLOOR)
    with pytest.raises(BadInputError, match=r"confidence: expected shape \(1, 1\)"):
        point_unary(np.zeros((1, 2, 2)), np.zeros((1, 1, 2)), np.zeros((2, 1)), np.ones(1), np.ones((1, 2)), floor=FLOOR)
