"""Codecs against their definitions, written out cell by cell."""

import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError
from ml_backend.heatmaps.codecs import DARK, MSRA, UDP, SimCC, make_codec
from ml_backend.heatmaps.subpixel import blur_kernel_size, blurred_neighbourhood

SIZE = (64, 48)
MAPS = ["msra", "dark", "udp"]


def one(x: Any, y: Any) -> Any:
    return np.array([[[x, y]]], dtype=float)


def gaussian_by_definition(x: Any, y: Any, size: Any, sigma: Any, box_centre: Any = None) -> Any:
    h, w = size
    target = np.zeros(size)
    for row in range(h):
        for col in range(w):
            if box_centre is not None and max(abs(col - box_centre[0]), abs(row - box_centre[1])) > 3 * sigma:
                continue
            target[row, col] = math.exp(-((col - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
    return target


@pytest.mark.parametrize(
    ("codec", "x", "y", "expected"),
    [
        (MSRA(), 20.5, 30.49, lambda: gaussian_by_definition(21, 30, SIZE, 2, (21, 30))),
        (MSRA(sigma=1.5), 0.2, 63.4, lambda: gaussian_by_definition(0, 63, SIZE, 1.5, (0, 63))),
        (DARK(), 20.3, 30.7, lambda: gaussian_by_definition(20.3, 30.7, SIZE, 2)),
        (UDP(), 20.3, 30.7, lambda: gaussian_by_definition(20.3, 30.7, SIZE, 2, (20, 31))),
        (DARK(sigma=3, amplitude=30), 47.4, 1.0, lambda: 30 * gaussian_by_definition(47.4, 1.0, SIZE, 3)),
    ],
)
def test_target_is_the_gaussian_of_the_definition(codec: Any, x: Any, y: Any, expected: Any) -> None:
    target, weight = codec.encode(one(x, y), SIZE)
    assert target.dtype == np.float32
    assert weight[0, 0] == 1
    np.testing.assert_allclose(target[0, 0], expected(), atol=2e-6 * codec.amplitude)


def test_mass_of_a_unit_gaussian_is_two_pi_sigma_squared() -> None:
    target, _ = DARK(sigma=2).encode(one(24.3, 31.8), SIZE)
    assert target.sum() == pytest.approx(2 * math.pi * 4, rel=1e-4)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(
    ("x", "y", "weight"),
    [
        (-6.4, 30, 1.0),  # rounded centre −6: its box reaches column 0
        (-6.6, 30, 0.0),  # rounded centre −7: its box ends at column −1
        (53.4, 30, 1.0),  # last column is 47
        (53.6, 30, 0.0),
        (20, -6.6, 0.0),
        (20, 69.6, 0.0),
        (np.nan, 30, 0.0),
        (20, np.inf, 0.0),
    ],
)
def test_weight_is_zero_exactly_when_the_support_misses_the_map(name: Any, x: Any, y: Any, weight: Any) -> None:
    target, got = make_codec(name).encode(one(x, y), SIZE)
    assert got[0, 0] == weight
    assert (target.sum() > 0) == (weight > 0)


@pytest.mark.parametrize("codec", [MSRA(), DARK(), UDP(), SimCC(SIZE)])
def test_mask_becomes_the_weight_and_empties_masked_targets(codec: Any) -> None:
    xy = np.tile(one(20, 30), (2, 3, 1))
    mask = np.array([[1, 0.5, 0], [0, 1, 1]])
    target, weight = codec.encode(xy, SIZE, mask)
    np.testing.assert_allclose(weight, mask)
    assert not target[mask == 0].any()
    assert (target[mask > 0].reshape(4, -1).max(axis=1) == 1).all()


@settings(deadline=None, max_examples=60)
@given(x=st.floats(5, 42), y=st.floats(5, 58), amplitude=st.sampled_from([0.5, 1.0, 30.0]))
@pytest.mark.parametrize("make", [DARK, UDP])
def test_unbiased_codecs_round_trip_inside_the_map(make: Any, x: Any, y: Any, amplitude: Any) -> None:
    codec = make(amplitude=amplitude)
    target, _ = codec.encode(one(x, y), SIZE)
    xy, confidence = codec.decode(target)
    np.testing.assert_allclose(xy[0, 0], [x, y], atol=2e-3)
    # The nearest cell is at most half a cell away along each axis.
    assert math.exp(-0.5 / 8) - 1e-6 <= confidence[0, 0] <= 1


@settings(deadline=None, max_examples=60)
@given(x=st.floats(0, 47), y=st.floats(0, 63))
def test_msra_round_trip_is_the_rounded_cell(x: Any, y: Any) -> None:
    target, _ = MSRA().encode(one(x, y), SIZE)
    xy, confidence = MSRA().decode(target)
    np.testing.assert_array_equal(xy[0, 0], np.floor(np.array([x, y]) + 0.5))  # symmetric neighbours: no quarter step
    assert confidence[0, 0] == 1


@pytest.mark.parametrize(
    ("cell", "step"),
    [
        ((10, 20), (0.25, -0.25)),
        ((1, 20), (0, 0)),  # the rule asks 1 < column
        ((2, 20), (0.25, -0.25)),
        ((46, 20), (0.25, -0.25)),
        ((47, 20), (0, 0)),
        ((10, 0), (0, 0)),
        ((10, 62), (0.25, -0.25)),
    ],
)
def test_msra_moves_a_quarter_cell_toward_the_larger_neighbour(cell: Any, step: Any) -> None:
    hm = np.zeros((1, 1, *SIZE), dtype=np.float32)
    x, y = cell
    hm[0, 0, y, x] = 0.8
    hm[0, 0, y, x + 1 : x + 2] = 0.3  # neighbours that there are
    hm[0, 0, max(y - 1, 0) : y, x] = 0.2
    xy, confidence = MSRA().decode(hm)
    np.testing.assert_allclose(xy[0, 0], np.add(cell, step))
    assert confidence[0, 0] == pytest.approx(0.8)


@pytest.mark.parametrize("codec", [MSRA(), DARK(), UDP(), SimCC(SIZE)])
@pytest.mark.parametrize("fill", [0.0, -1.0, np.nan, np.inf])
def test_a_map_without_a_maximum_gives_nan_and_no_confidence(codec: Any, fill: Any) -> None:
    good, _ = codec.encode(np.tile(one(20, 30), (1, 2, 1)), SIZE)
    good[0, 1] = fill
    xy, confidence = codec.decode(good)
    assert np.isnan(xy[0, 1]).all()
    assert confidence[0, 1] == 0
    np.testing.assert_allclose(xy[0, 0], [20, 30], atol=2e-3)


@pytest.mark.parametrize("codec", [MSRA(), DARK(), UDP()])
def test_confidence_is_clipped_to_one(codec: Any) -> None:
    target, _ = codec.encode(one(20, 30), SIZE)
    assert codec.decode(1.5 * target)[1][0, 0] == 1


@pytest.mark.parametrize(("sigma", "kernel"), [(2, 11), (3, 17)])
def test_blur_kernel_belongs_to_the_training_sigma(sigma: Any, kernel: Any) -> None:
    assert blur_kernel_size(sigma) == kernel


@pytest.mark.parametrize("cell", [(10, 20), (0, 0), (47, 63), (1, 62)])
def test_local_blur_equals_the_blur_of_the_whole_map(cell: Any) -> None:
    rng = np.random.default_rng(3)
    hm = rng.random((1, *SIZE)).astype(np.float32)
    hm[0, cell[1], cell[0]] = 2.0
    whole = cv2.GaussianBlur(np.pad(hm[0].astype(np.float64), 7), (11, 11), 0, borderType=cv2.BORDER_CONSTANT)
    expected = whole[cell[1] + 5 : cell[1] + 10, cell[0] + 5 : cell[0] + 10]
    got = blurred_neighbourhood(hm, np.array([cell]), 11, 2)[0]
    np.testing.assert_allclose(got, expected * 2.0 / expected.max(), rtol=1e-6)


def test_dark_step_is_the_taylor_expansion_of_the_log_map() -> None:
    """A Gaussian with a tilted covariance stays one under blur, so its log is a quadratic with a known top."""
    cov = np.array([[6.0, 1.5], [1.5, 4.0]])
    top = np.array([20.3, 30.6])
    rows, cols = np.mgrid[: SIZE[0], : SIZE[1]]
    d = np.stack([cols - top[0], rows - top[1]], axis=-1)
    hm = np.exp(-0.5 * np.einsum("ijk,kl,ijl->ij", d, np.linalg.inv(cov), d)).astype(np.float32)[None, None]
    np.testing.assert_allclose(DARK().decode(hm)[0][0, 0], top, atol=5e-3)
    # At their narrower stencil UDP's mixed derivative is one-sided: exact for quadratics all the same.
    np.testing.assert_allclose(UDP().decode(hm)[0][0, 0], top, atol=5e-3)


def test_dark_takes_no_step_beside_the_border_but_udp_does() -> None:
    target, _ = DARK().encode(one(1.3, 30.0), SIZE)
    np.testing.assert_array_equal(DARK().decode(target)[0][0, 0], [1, 30])
    assert UDP().decode(target)[0][0, 0, 0] != 1


def test_a_flat_map_takes_no_step() -> None:
    flat = np.ones((1, 1, *SIZE), dtype=np.float32)
    flat[0, 0, 30, 20] = 1.0 + 1e-6
    for codec in (DARK(), UDP(), MSRA()):
        np.testing.assert_allclose(codec.decode(flat)[0][0, 0], [20, 30], atol=0.5)


@settings(deadline=None, max_examples=40)
@given(x=st.floats(0, 190), y=st.floats(0, 254))
def test_simcc_round_trip_is_half_a_bin(x: Any, y: Any) -> None:
    codec = SimCC((256, 192), sigma=(4.9, 5.66))
    target, weight = codec.encode(one(x, y), (256, 192))
    assert target.shape == (1, 1, 384 + 512)
    assert weight[0, 0] == 1
    xy, _ = codec.decode(target)
    np.testing.assert_allclose(xy[0, 0], [x, y], atol=0.25 + 1e-9)


def test_simcc_halves_are_the_marginals_and_confidence_the_smaller_maximum() -> None:
    codec = SimCC((8, 6), ratio=2.0)
    across, down = codec.split(np.arange(28, dtype=np.float32)[None, None])
    assert (across.shape[-1], down.shape[-1]) == (12, 16)
    vectors = np.zeros((1, 1, 28), dtype=np.float32)
    vectors[0, 0, 4], vectors[0, 0, 12 + 6] = 0.9, 0.4
    xy, confidence = codec.decode(vectors)
    np.testing.assert_allclose(xy[0, 0], [2, 3])
    assert confidence[0, 0] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_codec("gauss"), "expected one of msra, dark, udp, simcc, got 'gauss'"),
        (lambda: make_codec("msra", width=3), "width"),
        (lambda: make_codec("dark", sigma=0.0), "sigma must be a positive number"),
        (lambda: MSRA().encode(np.zeros((3, 2)), SIZE), r"expected xy_hm of shape \(n, K, 2\)"),
        (lambda: MSRA().encode(np.zeros((1, 3, 2)), SIZE, np.ones((1, 2))), r"expected a mask of shape \(1, 3\)"),
        (lambda: UDP().decode(np.zeros((3, 8, 8), np.float32)), r"expected heatmaps of shape \(n, K, h, w\)"),
        (lambda: SimCC((8, 6)).encode(np.zeros((1, 1, 2)), (6, 8)), r"made for size_hm \(8, 6\)"),
        (lambda: SimCC((8, 6)).decode(np.zeros((1, 1, 20), np.float32)), "12 \\+ 16 bins"),
    ],
)
def test_bad_input_is_named(call: Any, message: Any) -> None:
    with pytest.raises(BadInputError, match=message):
        call()


@pytest.mark.parametrize("name", MAPS)
def test_no_frames_is_an_ordinary_input(name: Any) -> None:
    codec = make_codec(name)
    target, weight = codec.encode(np.zeros((0, 17, 2)), SIZE)
    xy, confidence = codec.decode(target)
    assert (target.shape, weight.shape, xy.shape, confidence.shape) == ((0, 17, *SIZE), (0, 17), (0, 17, 2), (0, 17))
