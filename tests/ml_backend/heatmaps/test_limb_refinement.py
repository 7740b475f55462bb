"""Max-product over the tree of limbs against trying every configuration."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from ml_backend.heatmaps.limb_refinement import most_likely_peaks

LIMBS = ((2, 0), (2, 1), (0, 3))  # not in order from the root


def every_configuration(xy: Any, value: Any, length: Any, log_variance: Any) -> Any:
    """The best of M^K by the printed sum."""
    n, k, m = value.shape
    best = np.zeros((n, k), dtype=np.int64)
    for i in range(n):
        share = np.log(value[i] / value[i].sum(axis=-1, keepdims=True))
        totals = {}
        for chosen in product(range(m), repeat=k):
            points = xy[i, range(k), chosen]
            residual = np.array([np.linalg.norm(points[a] - points[b]) for a, b in LIMBS]) - length[i]
            density = -0.5 * (residual**2 / np.exp(log_variance[i]) + log_variance[i])
            totals[chosen] = share[range(k), chosen].sum() + density.sum()
        best[i] = max(totals, key=totals.__getitem__)
    return best


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_best_of_all_configurations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    xy, value = rng.uniform(0, 32, (40, 4, 3, 2)), np.sort(rng.uniform(0.1, 1, (40, 4, 3)))[..., ::-1]
    length, log_variance = rng.uniform(2, 20, (40, 3)), rng.normal(1, 1, (40, 3))
    np.testing.assert_array_equal(
        most_likely_peaks(xy, value, length, log_variance, LIMBS), every_configuration(xy, value, length, log_variance)
    )


def test_what_has_no_maximum_leaves_the_rest_as_it_would_be_alone() -> None:
    """Without keypoint 0 the limb 2–1 decides alone, and 3, which hung on it, takes its strongest maximum."""
    xy, value = np.full((1, 4, 2, 2), np.nan), np.full((1, 4, 2), np.nan)
    xy[0, 1], value[0, 1] = [[20, 0], [5, 0]], [0.6, 0.5]
    xy[0, 2, 0], value[0, 2, 0] = [0, 0], 1.0
    xy[0, 3], value[0, 3] = [[9, 9], [1, 1]], [0.9, 0.8]
    chosen = most_likely_peaks(xy, value, np.full((1, 3), 5.0), np.zeros((1, 3)), LIMBS)
    np.testing.assert_array_equal(chosen, [[0, 1, 0, 0]])


def test_a_limb_of_unknown_length_has_no_say() -> None:
    xy, value = np.array([[[[0.0, 0]] * 2, [[20.0, 0], [5, 0]], [[0.0, 0]] * 2, [[0.0, 0]] * 2]]), np.array([[[0.6, 0.5]] * 4])
    length = np.array([[5.0, np.nan, 5.0]])
    assert most_likely_peaks(xy, value, length, np.zeros((1, 3)), LIMBS)[0, 1] == 0
    assert most_likely_peaks(xy, value, np.full((1, 3), 5.0), np.zeros((1, 3)), LIMBS)[0, 1] == 1
