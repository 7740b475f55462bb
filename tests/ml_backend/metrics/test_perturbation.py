"""Perturbed pictures and points that stay on them."""

from __future__ import annotations

import numpy as np
import pytest

from label_config.values import BadInputError, ByteArray
from ml_backend.metrics.perturbation import CLEAN, PERTURBATIONS, Perturbation, blurred, brightness

BY_NAME = {perturbation.name: perturbation for perturbation in PERTURBATIONS}


def picture(width: int = 61, height: int = 41) -> ByteArray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_published_set_and_the_clean_picture_first() -> None:
    assert [p.name for p in PERTURBATIONS] == ["clean", "blur", "bright", "dark", "zoom in", "zoom out"]
    np.testing.assert_array_equal(CLEAN.picture(picture()), picture())
    assert (BY_NAME["zoom in"].zoom, BY_NAME["zoom out"].zoom) == (1.4, 0.6)


def test_brightness_multiplies_and_cuts_at_white() -> None:
    grey = np.array([[[0, 100, 200]]], dtype=np.uint8)
    assert brightness(1.3)(grey).tolist() == [[[0, 130, 255]]]
    assert brightness(0.7)(grey).tolist() == [[[0, 70, 140]]]


def test_blur_spreads_a_point_over_5_by_5_pixels() -> None:
    dot = np.zeros((11, 11, 3), np.uint8)
    dot[5, 5] = 250
    expected = np.zeros((11, 11, 3), np.uint8)
    expected[3:8, 3:8] = 10  # 250 / 25
    np.testing.assert_array_equal(blurred(dot), expected)


@pytest.mark.parametrize("name", ["zoom in", "zoom out"])
def test_points_follow_what_they_stand_on(name: str) -> None:
    # A wide soft spot survives resampling; its centre of gravity tells where it went.
    size, place = (121, 81), np.array([70.0, 30.0])
    column, row = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    spot = 240 * np.exp(-((column - place[0]) ** 2 + (row - place[1]) ** 2) / (2 * 4.0**2))
    changed = BY_NAME[name].picture(np.repeat(spot[..., None], 3, axis=2).astype(np.uint8))[..., 0].astype(float)
    assert changed.shape == (81, 121)
    found = np.array([(changed * column).sum(), (changed * row).sum()]) / changed.sum()
    moved = BY_NAME[name].points(place, size)
    np.testing.assert_allclose(moved, found, atol=0.1)
    np.testing.assert_allclose(moved, [60 + BY_NAME[name].zoom * 10, 40 - BY_NAME[name].zoom * 10])
    np.testing.assert_allclose(BY_NAME[name].back(moved, size), place)


def test_points_that_leave_the_picture_are_gone() -> None:
    points = np.array([[0.0, 20.0], [30.0, 20.0], [60.4, 40.4]])
    assert np.isnan(BY_NAME["zoom in"].points(points, (61, 41))).all(axis=1).tolist() == [True, False, True]
    assert np.isfinite(BY_NAME["zoom out"].points(points, (61, 41))).all()
    assert np.isfinite(CLEAN.points(points, (61, 41))).all()


def test_zooming_out_leaves_black_around() -> None:
    out = BY_NAME["zoom out"].picture(np.full((50, 50, 3), 200, np.uint8))
    assert out[:9].max() == 0
    assert out[25, 25].tolist() == [200, 200, 200]


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(BadInputError, match="uint8"):
        Perturbation("x").picture(np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize("name", ["zoom in", "zoom out", "dark"])
def test_a_box_holds_the_same_points_as_before(name: str) -> None:
    size, perturbation = (61, 41), BY_NAME[name]
    assert perturbation.box((0.0, 0.0, 61.0, 41.0), size)[2:] == pytest.approx((61 * perturbation.zoom, 41 * perturbation.zoom))
    x, y, width, height = perturbation.box((20.0, 10.0, 15.0, 25.0), size)
    # The box covers pixels 20 … 34 and 10 … 34: its edges lie half a pixel outside their centres.
    corners = np.array([[19.5, 9.5], [34.5, 34.5]])
    np.testing.assert_allclose(perturbation.points(corners, size), [[x - 0.5, y - 0.5], [x + width - 0.5, y + height - 0.5]])
