"""Least confidence, margin and multiple-peak entropy against values worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values.prediction import Output
from ml_backend.acquisition.score import Chunk
from ml_backend.acquisition.scores.confidence import LeastConfidence, Margin, MultiplePeakEntropy, PeakNorm, peak_probability
from tests.predictions import changed


def with_peaks(chunk: Chunk, *heights: float) -> Chunk:
    """Every heatmap of the chunk has these local maxima; the rest of the five places is empty."""
    maxima = chunk.outputs[Output.PEAKS].copy()
    maxima[..., 2] = np.nan
    maxima[..., : len(heights), 2] = heights
    return changed(chunk, {Output.PEAKS: maxima})


@pytest.mark.parametrize(
    ("norm", "expected"),
    [("softmax_raw", 0.619), ("softmax_x30", 0.000), ("l1", 0.325)],
)
def test_the_same_two_peaks_under_each_normalisation(norm: PeakNorm, expected: float, world: Any) -> None:
    raw = MultiplePeakEntropy(norm=norm).score(with_peaks(world.chunk, 0.9, 0.1), None).raw
    np.testing.assert_allclose(raw, expected, atol=5e-4)


@pytest.mark.parametrize("norm", ["l1", "softmax_raw", "softmax_x30"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_equal_peaks_give_ln_of_their_number(norm: PeakNorm, count: int, world: Any) -> None:
    raw = MultiplePeakEntropy(norm=norm).score(with_peaks(world.chunk, *[0.6] * count), None).raw
    np.testing.assert_allclose(raw, np.log(count), atol=1e-12)


def test_a_blank_heatmap_is_the_most_uncertain(world: Any) -> None:
    blank = with_peaks(world.chunk)
    np.testing.assert_allclose(MultiplePeakEntropy().score(blank, None).raw, np.log(5))
    np.testing.assert_allclose(MultiplePeakEntropy(mode="paper").score(blank, None).raw, 0.0)
    np.testing.assert_allclose(Margin().score(blank, None).raw, 1.0)


def test_margin_has_the_right_direction_and_the_released_one_has_not(world: Any) -> None:
    ambiguous, clear = with_peaks(world.chunk, 0.5, 0.5), with_peaks(world.chunk, 0.9, 0.1)
    np.testing.assert_allclose(Margin().score(ambiguous, None).raw, 1.0)
    np.testing.assert_allclose(Margin().score(clear, None).raw, 0.2)
    np.testing.assert_allclose(Margin().score(with_peaks(world.chunk, 0.9), None).raw, 0.1)
    np.testing.assert_allclose(Margin(mode="paper").score(ambiguous, None).raw, 0.0)
    np.testing.assert_allclose(Margin(mode="paper").score(clear, None).raw, -5 * 0.8)  # sum over five keypoints
    np.testing.assert_allclose(Margin(mode="paper").score(with_peaks(world.chunk, 0.9), None).raw, -5 * 0.9)
    np.testing.assert_allclose(Margin(mode="released").score(ambiguous, None).raw, 0.0)
    np.testing.assert_allclose(Margin(mode="released").score(clear, None).raw, 5 * 0.8)
    np.testing.assert_allclose(Margin(mode="released").score(with_peaks(world.chunk, 0.9), None).raw, 0.0)


def test_mean_over_keypoints_then_over_views(world: Any) -> None:
    confidence = np.full_like(world.chunk.confidence, np.nan)
    confidence[:, 0] = 0.9  # five keypoints in the first view
    confidence[:, 1, 2] = 0.3  # one in the second, none in the third
    scores = LeastConfidence().score(changed(world.chunk, confidence=confidence), None)
    np.testing.assert_allclose(scores.raw, (0.1 + 0.7) / 2)
    assert (scores.support == 6).all()


@settings(deadline=None, max_examples=50)
@given(
    heights=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5),
    norm=st.sampled_from(["l1", "softmax_raw", "softmax_x30"]),
)
def test_peak_probabilities_sum_to_one(heights: list[float], norm: PeakNorm) -> None:
    probability = peak_probability(np.array([*heights, np.nan]), norm)
    assert probability[-1] == 0
    assert (probability >= 0).all()
    total = 0.0 if norm == "l1" and sum(heights) == 0 else 1.0
    assert probability.sum() == pytest.approx(total, abs=1e-9)
