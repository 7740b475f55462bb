"""Paired bootstrap and the publishing gate."""

import math
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.metrics.bootstrap import gate, paired_bootstrap


def test_a_constant_improvement_has_no_spread() -> None:
    old = np.random.default_rng(0).exponential(5, 30)
    result = paired_bootstrap(old, old - 0.5, seed=1)
    assert result.delta == pytest.approx(-0.5)
    assert (result.lo, result.hi) == pytest.approx((-0.5, -0.5))
    assert (result.p_worse, result.n) == (0, 30)
    assert paired_bootstrap(old, old + 0.5, seed=1).p_worse == 1


def test_identical_models_are_a_tie() -> None:
    old = np.arange(25, dtype=np.float64)
    result = paired_bootstrap(old, old, seed=1)
    assert (result.delta, result.p_worse) == (0, 0.5)


def test_interval_has_the_width_of_the_standard_error() -> None:
    rng = np.random.default_rng(2)
    old = rng.exponential(5, 400)
    change = rng.normal(0.2, 3.0, 400)
    result = paired_bootstrap(old, old + change, seed=3, resamples=4000)
    error = change.std() / math.sqrt(400)
    assert (result.hi - result.lo) / (2 * 1.96 * error) == pytest.approx(1, abs=0.08)
    assert result.lo < change.mean() < result.hi


def test_the_seed_decides() -> None:
    rng = np.random.default_rng(4)
    old, new = rng.random(40), rng.random(40)
    assert paired_bootstrap(old, new, seed=5) == paired_bootstrap(old, new, seed=5)
    assert paired_bootstrap(old, new, seed=5) != paired_bootstrap(old, new, seed=6)


def test_frames_of_one_block_are_drawn_together() -> None:
    """Ten copies of twenty frames tell no more than the twenty."""
    rng = np.random.default_rng(7)
    change = np.repeat(rng.normal(0, 1, 20), 10)
    block = np.repeat(np.arange(20), 10)
    alone = paired_bootstrap(np.zeros(200), change, seed=1)
    together = paired_bootstrap(np.zeros(200), change, seed=1, group=block)
    assert (together.hi - together.lo) / (alone.hi - alone.lo) == pytest.approx(math.sqrt(10), rel=0.15)


def test_missing_errors_are_left_out_in_pairs() -> None:
    old, new = np.array([1.0, np.nan, 3.0]), np.array([2.0, 2.0, np.nan])
    result = paired_bootstrap(old, new, seed=0)
    assert (result.n, result.delta) == (1, 1)
    assert math.isnan(result.p_worse)
    assert math.isnan(paired_bootstrap(np.array([np.nan]), np.array([1.0]), seed=0).delta)


def test_gate_is_off_below_twenty_frames_and_says_so() -> None:
    decision = gate(np.ones(30), np.append(np.full(6, 9.0), np.full(24, np.nan)))
    assert decision.passed
    assert decision.status == "not enough yet: 6 of 20 labelled validation frames"
    assert decision.comparison is None


@pytest.mark.parametrize(("change", "passed"), [(-1.0, True), (0.0, True), (1.0, False)])
def test_gate_rejects_only_what_is_surely_worse(change: Any, passed: Any) -> None:
    rng = np.random.default_rng(8)
    old = rng.exponential(5, 50)
    new = old + change + rng.normal(0, 0.5, 50) * (change != 0)
    decision = gate(old, new)
    assert decision.passed is passed
    assert decision.status.startswith("passed: mean error" if passed else "rejected: mean error")
    assert decision.status.endswith("on 50 frames")


def test_gate_needs_frames_of_more_than_one_block() -> None:
    worse = np.full(30, 1.0)
    decision = gate(np.zeros(30), worse, group=np.zeros(30, int))
    assert decision.passed
    assert decision.status == "not enough yet: the 30 frames lie in one block of time"
    decision = gate(np.zeros(30), worse, group=np.repeat([0, 1, 2], 10))
    assert not decision.passed
    assert decision.status.endswith("on 30 frames in 3 blocks of time")


def test_gate_lets_noise_pass() -> None:
    rng = np.random.default_rng(9)
    old = rng.exponential(5, 40)
    assert gate(old, rng.permutation(old)).passed


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(BadInputError, match=r"shape \(n,\)"):
        paired_bootstrap(np.zeros(3), np.zeros(4), seed=0)
    with pytest.raises(BadInputError, match="group"):
        paired_bootstrap(np.zeros(3), np.zeros(3), seed=0, group=np.zeros(2, int))
