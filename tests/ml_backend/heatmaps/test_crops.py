"""Crop transforms: closed forms, exact inverses and real resampling."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError
from ml_backend.heatmaps.crops import CropTransform, box_around, padded_box


def blob(size: Any, centre: Any, sigma: Any) -> Any:
    rows, cols = np.mgrid[: size[1], : size[0]]
    value = 255 * np.exp(-0.5 * ((cols - centre[0]) ** 2 + (rows - centre[1]) ** 2) / sigma**2)
    return np.repeat(np.round(value).astype(np.uint8)[:, :, None], 3, axis=2)


def centroid(image: Any) -> Any:
    weight = image[:, :, 0].astype(float)
    rows, cols = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(cols * weight).sum(), (rows * weight).sum()]) / weight.sum()


def test_a_whole_picture_at_its_own_size_is_the_identity() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    crop = CropTransform((0, 0, 40, 30), (40, 30), (10, 15))
    np.testing.assert_allclose(crop.matrix, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(crop.extract(image), image)


def test_an_integer_box_cuts_exactly_its_pixels() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(CropTransform((7, 4, 16, 12), (16, 12), (4, 3)).extract(image), image[4:16, 7:23])


@pytest.mark.parametrize(
    ("grid", "input_xy", "heatmap_xy"),
    [
        ("centre", (0, 0), (-0.375, -0.375)),  # (0 + ½) / 4 − ½
        ("centre", (1.5, 1.5), (0, 0)),  # the middle of the first four pixels is the centre of cell 0
        ("udp", (191, 255), (47, 63)),
        ("udp", (0, 0), (0, 0)),
        ("stride", (8, 12), (2, 3)),
    ],
)
def test_input_to_heatmap_follows_the_grid(grid: Any, input_xy: Any, heatmap_xy: Any) -> None:
    crop = CropTransform((0, 0, 192, 256), (192, 256), (48, 64), grid=grid)
    points = crop.input_to_image(np.array(input_xy, float))
    np.testing.assert_allclose(crop.image_to_heatmap(points), heatmap_xy, atol=1e-12)


def test_udp_puts_the_outermost_pixel_centres_on_one_another() -> None:
    crop = CropTransform((10, 20, 61, 81), (192, 256), (48, 64), grid="udp")
    ends = crop.image_to_input(np.array([[10.0, 20.0], [70.0, 100.0]]))
    np.testing.assert_allclose(ends, [[0, 0], [191, 255]], atol=1e-9)


def test_rotation_turns_clockwise_about_the_centre_of_the_box() -> None:
    crop = CropTransform((0, 0, 101, 101), (101, 101), (101, 101), rotation_deg=90)
    # To the right of the centre (50, 50) becomes below it: y points down.
    np.testing.assert_allclose(crop.image_to_input(np.array([[60.0, 50.0], [50.0, 50.0]])), [[50, 60], [50, 50]], atol=1e-9)


def test_scale_shift_and_flip() -> None:
    box, size = (0, 0, 100, 50), (100, 50)
    point = np.array([59.5, 24.5])  # 10 px right of the centre (49.5, 24.5)
    assert CropTransform(box, size, size, scale=2).image_to_input(point).tolist() == [69.5, 24.5]
    np.testing.assert_allclose(CropTransform(box, size, size, shift=(0.1, -0.2)).image_to_input(point), [69.5, 14.5])
    np.testing.assert_allclose(CropTransform(box, size, size, flip=True).image_to_input(point), [39.5, 24.5])


def test_flip_mirrors_the_pixels() -> None:
    image = np.random.default_rng(2).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(CropTransform((0, 0, 16, 12), (16, 12), (4, 3), flip=True).extract(image), image[:, ::-1])


transforms = st.builds(
    CropTransform,
    box_px=st.tuples(st.floats(-50, 500), st.floats(-50, 500), st.floats(20, 900), st.floats(20, 900)),
    input_px=st.tuples(st.integers(32, 384), st.integers(32, 384)),
    heatmap_px=st.tuples(st.integers(8, 96), st.integers(8, 96)),
    rotation_deg=st.floats(-180, 180),
    scale=st.floats(0.5, 2),
    shift=st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
    flip=st.booleans(),
    grid=st.sampled_from(["centre", "udp", "stride"]),
)


@settings(deadline=None, max_examples=60)
@given(crop=transforms, seed=st.integers(0, 1000))
def test_maps_are_inverse(crop: Any, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 1000, (2, 5, 2))
    np.testing.assert_allclose(crop.input_to_image(crop.image_to_input(points)), points, atol=1e-9)
    np.testing.assert_allclose(crop.heatmap_to_image(crop.image_to_heatmap(points)), points, atol=1e-9)


@pytest.mark.parametrize("box", [(100.0, 60.0, 160.0, 120.0), (122.5, 82.25, 96.0, 72.0), (20.0, 0.0, 480.0, 360.0)])
@pytest.mark.parametrize("augment", [{}, {"rotation_deg": 25.0, "scale": 1.2, "shift": (0.05, -0.03), "flip": True}])
def test_pixels_land_where_the_points_do(box: Any, augment: Any) -> None:
    centre = np.array([170.3, 118.6])
    image = blob((640, 480), centre, 6.0)
    crop = CropTransform(box, (96, 72), (24, 18), **augment)
    np.testing.assert_allclose(centroid(crop.extract(image)), crop.image_to_input(centre), atol=0.08)


def test_a_strong_reduction_averages_instead_of_sampling() -> None:
    """White noise of 0 and 255: the mean of 8 × 8 pixels spreads by 127.5 / 8 = 16, a sample of four by 64."""
    image = 255 * np.random.default_rng(3).integers(0, 2, (256, 256, 1), dtype=np.uint8).repeat(3, axis=2)
    small = CropTransform((0, 0, 256, 256), (32, 32), (8, 8)).extract(image)
    assert small.astype(float).std() == pytest.approx(127.5 / 8, rel=0.1)
    blocks = image.reshape(32, 8, 32, 8, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(small, blocks, atol=1)


def test_outside_the_picture_is_black() -> None:
    image = np.full((20, 20, 3), 200, dtype=np.uint8)
    crop = CropTransform((-10, 0, 20, 20), (20, 20), (5, 5)).extract(image)
    assert not crop[:, :10].any()
    assert (crop[:, 10:] == 200).all()


@pytest.mark.parametrize("box", [(-500, -500, 100, 100), (-900, 3000, 800, 800), (400, 0, 4000, 4000)])
def test_a_box_far_outside_still_gives_a_picture(box: Any) -> None:
    crop = CropTransform(box, (32, 32), (8, 8)).extract(np.full((20, 20, 3), 200, np.uint8))
    assert crop.shape == (32, 32, 3)
    assert not crop.any()


@pytest.mark.parametrize(
    ("box", "aspect", "scale", "expected"),
    [
        ((10, 20, 30, 80), 0.75, 1.0, (-5, 20, 60, 80)),  # too narrow: widened about x = 25
        ((10, 20, 90, 40), 0.75, 1.0, (10, -20, 90, 120)),  # too low: heightened about y = 40
        ((0, 0, 40, 40), 1.0, 1.25, (-5, -5, 50, 50)),
    ],
)
def test_padded_box_keeps_the_centre_and_fixes_the_aspect(box: Any, aspect: Any, scale: Any, expected: Any) -> None:
    np.testing.assert_allclose(padded_box(box, aspect, scale), expected)


def test_box_around_covers_the_pixels_of_the_finite_points() -> None:
    assert box_around(np.array([[3.0, 5.0], [np.nan, 1.0], [7.0, 4.0]])) == (3.0, 4.0, 5.0, 2.0)
    assert box_around(np.full((4, 2), np.nan)) is None


def test_missing_points_stay_missing() -> None:
    crop = CropTransform((0, 0, 10, 10), (20, 20), (5, 5))
    out = crop.image_to_heatmap(np.array([[np.nan, np.nan], [1.0, 2.0]]))
    assert np.isnan(out[0]).all()
    assert np.isfinite(out[1]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CropTransform((0, 0, 0, 5), (8, 8), (4, 4)), "positive size"),
        (lambda: CropTransform((0, 0, np.nan, 5), (8, 8), (4, 4)), "finite box"),
        (lambda: CropTransform((0, 0, 5, 5), (0, 8), (4, 4)), "input_px must be at least 1×1"),
        (lambda: CropTransform((0, 0, 5, 5), (8, 8), (1, 4), grid="udp"), "heatmap_px must be at least 2×2"),
        (lambda: CropTransform((0, 0, 5, 5), (8, 8), (4, 4), scale=0), "scale"),
        (lambda: CropTransform((0, 0, 5, 5), (8, 8), (4, 4), grid="other"), "expected a grid among centre, udp, stride"),  # type: ignore[arg-type]
        (lambda: CropTransform((0, 0, 5, 5), (8, 8), (4, 4)).extract(np.zeros((5, 5), np.uint8)), r"uint8 \(h, w, 3\)"),
        (lambda: CropTransform((0, 0, 5, 5), (8, 8), (4, 4)).image_to_input(np.zeros(3)), r"shape \(..., 2\)"),
    ],
)
def test_bad_input_is_named(call: Any, message: Any) -> None:
    with pytest.raises(BadInputError, match=message):
        call()
