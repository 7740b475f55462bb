"""PCK, PCKh, its area, and PCP in closed form."""

import math
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.metrics.pck import pck, pcp


def displaced(distances: Any) -> Any:
    """Truth at zero (n, K, 2) and predictions that many pixels away."""
    d = np.asarray(distances, dtype=float)
    truth = np.zeros((*d.shape, 2))
    return np.stack([0.6 * d, 0.8 * d], axis=-1), truth


def test_threshold_is_inclusive_and_scales_with_the_reference() -> None:
    predicted, truth = displaced([[5.0, 5.1], [10.0, 10.1]])
    result = pck(predicted, truth, np.array([10.0, 20.0]), 0.5)
    np.testing.assert_allclose(result.per_keypoint, [1, 0])
    assert (result.overall, result.count) == (0.5, 4)


def test_missing_predictions_are_wrong_and_missing_labels_do_not_count() -> None:
    predicted, truth = displaced([[1.0, 1.0, 1.0]])
    predicted[0, 0] = np.nan
    truth[0, 1] = np.nan
    result = pck(predicted, truth, np.array([10.0]), 0.5)
    np.testing.assert_array_equal(result.per_keypoint, [0, np.nan, 1])
    assert (result.overall, result.count) == (0.5, 2)


def test_a_frame_without_a_reference_does_not_count() -> None:
    predicted, truth = displaced([[1.0], [1.0]])
    result = pck(predicted, truth, np.array([np.nan, 10.0]), 0.5)
    assert (result.overall, result.count) == (1, 1)
    assert math.isnan(pck(predicted, truth, np.array(0.0), 0.5).overall)


def test_pcp_strict_and_loose_differ_when_one_end_is_far() -> None:
    truth = np.array([[[0.0, 0, 0], [10.0, 0, 0]]])
    predicted = truth + np.array([[[0, 3.0, 0], [0, 7.0, 0]]])  # mean error 5 = half the length
    assert pcp(predicted, truth, [(0, 1)], strict=False).mean == 1
    assert pcp(predicted, truth, [(0, 1)], strict=True).mean == 0
    assert pcp(predicted, truth, [(0, 1)], strict=True, alpha=0.7).mean == 1


def test_pcp_averages_left_and_right_within_a_part_and_then_over_parts() -> None:
    truth = np.zeros((1, 6, 2))
    truth[0, :, 0] = [0, 10, 0, 10, 0, 10]
    predicted = truth.copy()
    predicted[0, 0, 1] = 100
    predicted[0, 5] = np.nan
    limbs = [(0, 1), (2, 3), (4, 5)]
    result = pcp(predicted, truth, limbs, strict=True, parts={"arm": (0, 1), "leg": (2,)})
    np.testing.assert_array_equal(result.per_limb, [0, 1, 0])
    assert result.per_part == {"arm": 0.5, "leg": 0.0}
    assert result.mean == 0.25
    assert pcp(predicted, truth, limbs, strict=True).mean == pytest.approx(1 / 3)


def test_an_unlabelled_limb_is_nan() -> None:
    truth = np.array([[[0.0, 0], [np.nan, np.nan]]])
    result = pcp(np.zeros((1, 2, 2)), truth, [(0, 1)], strict=False)
    assert np.isnan(result.per_limb).all()
    assert math.isnan(result.mean)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(BadInputError, match=r"PCK: expected two arrays of shape \(n, K, D\)"):
        pck(np.zeros((2, 3, 2)), np.zeros((2, 4, 2)), np.ones(2), 0.5)
    with pytest.raises(BadInputError, match="PCP"):
        pcp(np.zeros((3, 2)), np.zeros((3, 2)), [(0, 1)], strict=True)
