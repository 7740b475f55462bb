"""Local maxima against a written-out definition and against scikit-image."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.heatmaps.codecs import DARK
from ml_backend.heatmaps.peaks import find_peaks


def peaks_by_definition(
    hm: Any, keep: Any = 5, radius: Any = 5.0, threshold: Any = 0.05, relative: Any = 0.1, candidates: Any = 8
) -> Any:
    h, w = hm.shape
    floor = np.float32(max(threshold, relative * hm.max()))
    found = []
    for y in range(h):
        for x in range(w):
            v = hm[y, x]
            if v < floor:
                continue
            around = [(yy, xx) for yy in (y - 1, y, y + 1) for xx in (x - 1, x, x + 1)]
            around = [(yy, xx) for yy, xx in around if 0 <= yy < h and 0 <= xx < w and (yy, xx) != (y, x)]
            if all(v > hm[q] if q < (y, x) else v >= hm[q] for q in around):
                found.append((-v, y, x))
    kept: list[tuple[float, int, int]] = []
    for v, y, x in sorted(found)[:candidates]:
        if all(math.hypot(y - b, x - a) > radius for _, b, a in kept):
            kept.append((v, y, x))
    return [(x, y, -v) for v, y, x in kept[:keep]]


def in_six_steps(maps: Any) -> Any:
    return np.round(maps * 6).astype(np.float32) / np.float32(6)


@pytest.mark.parametrize("drawn_as", [np.asarray, in_six_steps], ids=["noise", "plateaus"])
def test_equals_the_definition_on_noise_and_on_plateaus(drawn_as: Callable[[Any], Any]) -> None:
    rng = np.random.default_rng(4)
    maps = drawn_as(rng.random((3, 4, 21, 17)).astype(np.float32) * 0.9)
    xy, value = find_peaks(maps, subpixel=False)
    assert xy.shape == (3, 4, 5, 2)
    for i, j in np.ndindex(3, 4):
        expected = peaks_by_definition(maps[i, j])
        got = [(int(x), int(y), v) for (x, y), v in zip(xy[i, j], value[i, j], strict=True) if np.isfinite(v)]
        assert got == expected
        assert np.isnan(xy[i, j, len(got) :]).all()


def test_chunks_do_not_show() -> None:
    """More maps than one chunk holds: every map gives what it gives alone."""
    rng = np.random.default_rng(5)
    maps = rng.random((90, 64, 48)).astype(np.float32)
    together = find_peaks(maps)
    for i in (0, 41, 42, 43, 89):
        alone = find_peaks(maps[i])
        np.testing.assert_array_equal(together[0][i], alone[0])
        np.testing.assert_array_equal(together[1][i], alone[1])


def test_subpixel_positions_of_gaussians_are_exact() -> None:
    truth = np.array([[[10.3, 12.4], [30.75, 40.1]], [[5.5, 50.2], [40.9, 8.6]]])
    maps, _ = DARK().encode(truth, (64, 48))
    both = maps[:, 0] + 0.6 * maps[:, 1]
    xy, value = find_peaks(both)
    np.testing.assert_allclose(xy[:, :2], truth, atol=1e-4)
    assert (value[:, 0] > value[:, 1]).all()
    assert np.isnan(value[:, 2:]).all()


def test_border_and_corner_maxima_count() -> None:
    hm = np.zeros((20, 20), dtype=np.float32)
    hm[0, 0], hm[19, 10], hm[8, 19] = 0.9, 0.8, 0.7
    xy, _ = find_peaks(hm)
    np.testing.assert_array_equal(xy[:3], [[0, 0], [10, 19], [19, 8]])


def test_plateau_tie_goes_to_the_first_in_raster_order() -> None:
    hm = np.zeros((20, 20), dtype=np.float32)
    hm[5:7, 8:11] = 0.5
    xy, value = find_peaks(hm, subpixel=False)
    np.testing.assert_array_equal(xy[0], [8, 5])
    assert np.isnan(value[1])


@pytest.mark.parametrize(("distance", "count"), [(5, 1), (6, 2)])
def test_suppression_radius_is_inclusive(distance: Any, count: Any) -> None:
    hm = np.zeros((20, 20), dtype=np.float32)
    hm[10, 4], hm[10, 4 + distance] = 0.9, 0.8
    assert np.isfinite(find_peaks(hm)[1]).sum() == count


def test_a_suppressed_peak_suppresses_nothing() -> None:
    hm = np.zeros((9, 30), dtype=np.float32)
    hm[4, 4], hm[4, 8], hm[4, 12] = 0.9, 0.8, 0.7  # the middle one goes, the third is 8 away from the first
    np.testing.assert_array_equal(find_peaks(hm)[0][:2, 0], [4, 12])


@pytest.mark.parametrize(("top", "second", "count"), [(1.0, 0.09, 1), (1.0, 0.11, 2), (0.2, 0.04, 1), (0.04, 0.0, 0)])
def test_thresholds(top: Any, second: Any, count: Any) -> None:
    hm = np.zeros((20, 20), dtype=np.float32)
    hm[4, 4], hm[15, 15] = top, second
    assert np.isfinite(find_peaks(hm)[1]).sum() == count


def test_cells_that_are_not_finite_are_no_maxima() -> None:
    hm = np.zeros((3, 20, 20), dtype=np.float32)
    hm[:, 10, 10] = 0.8
    hm[0, 10, 11], hm[1, 3, 3], hm[2] = np.nan, np.inf, np.nan
    xy, value = find_peaks(hm)
    np.testing.assert_array_equal(xy[:2, 0].round(), [[10, 10], [10, 10]])
    assert np.isfinite(value).sum(axis=1).tolist() == [1, 1, 0]


def test_no_maps_and_wrong_shapes() -> None:
    xy, value = find_peaks(np.zeros((0, 17, 8, 8), np.float32))
    assert (xy.shape, value.shape) == ((0, 17, 5, 2), (0, 17, 5))
    with pytest.raises(BadInputError, match="h, w > 0"):
        find_peaks(np.zeros((3, 0, 8), np.float32))


def test_a_maximum_at_the_border_is_found() -> None:
    hm = DARK().encode(np.array([[[3.0, 30.0]]]), (64, 48))[0][0, 0]
    np.testing.assert_allclose(find_peaks(hm)[0][0], [3, 30], atol=1e-6)
