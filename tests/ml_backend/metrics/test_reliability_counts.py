"""Calibration error and person counts in closed form."""

import math
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.metrics.confidence_calibration import reliability
from ml_backend.metrics.oks import Detection, Truth
from ml_backend.metrics.subject_count import count_accuracy

SIGMAS = np.full(4, 0.05)


def test_perfectly_calibrated_is_zero() -> None:
    confidence = np.repeat([0.25, 0.75], 4)
    correct = np.array([1, 0, 0, 0, 1, 1, 1, 0], bool)
    assert reliability(confidence, correct).ece == 0


def test_ece_weighs_bins_by_their_size() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.05])
    correct = np.array([True, False, False, False])
    result = reliability(confidence, correct)
    # Upper bin: |0.95 − 1/3| with 3 of 4; lower bin: |0.05 − 0| with 1 of 4.
    assert result.ece == pytest.approx(0.75 * (0.95 - 1 / 3) + 0.25 * 0.05)
    assert result.count.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert result.correct[9] == pytest.approx(1 / 3)
    assert np.isnan(result.correct[1:9]).all()


def test_confidence_one_belongs_to_the_last_bin_and_nan_is_left_out() -> None:
    result = reliability(np.array([[1.0, np.nan]]), np.array([[True, False]]))
    assert result.ece == 0
    assert result.count[9] == 1
    assert math.isnan(reliability(np.array([np.nan]), np.array([True])).ece)


def test_reliability_refuses_other_ranges_and_shapes() -> None:
    with pytest.raises(BadInputError, match=r"in \[0, 1\]"):
        reliability(np.array([1.2]), np.array([True]))
    with pytest.raises(BadInputError, match="one shape"):
        reliability(np.zeros(2), np.zeros(3, bool))


def subject(image: Any, x: Any) -> Any:
    xy = np.array([[x, 0.0], [x + 10, 0.0], [x, 30.0], [x + 10, 30.0]])
    return Truth(image, xy, np.ones(4, bool), 300.0)


def test_counts_match_subjects_and_report_the_count_error() -> None:
    truths = [subject("a", 0), subject("a", 100), subject("b", 0)]
    detections = [
        Detection("a", truths[0].xy_px, 0.9),
        Detection("a", truths[0].xy_px + 300, 0.8),  # nobody there
        Detection("b", truths[2].xy_px, 0.7),
        Detection("b", truths[2].xy_px, 0.6),  # the same subject twice
        Detection("b", truths[2].xy_px, 0.1),  # below the score limit
    ]
    result = count_accuracy(truths, detections, SIGMAS, min_score=0.5)
    assert result.matched_share == pytest.approx(2 / 3)
    assert result.mean_count_error == 0.5  # 0 in a, 1 in b
    assert (result.subjects, result.detections) == (3, 4)


def test_counts_without_subjects() -> None:
    result = count_accuracy([], [Detection("a", np.zeros((4, 2)), 0.9)], SIGMAS)
    assert math.isnan(result.matched_share)
    assert result.mean_count_error == 1
    assert math.isnan(count_accuracy([], [], SIGMAS).mean_count_error)
