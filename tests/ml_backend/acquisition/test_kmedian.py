"""Weighted k-medians: closed forms, a brute-force reference, and what it is for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError, FloatArray, FrameKey
from ml_backend.acquisition import batch_builders
from ml_backend.acquisition.explain import RoundContext, build_record, explain
from ml_backend.acquisition.feature_spaces import FeatureSet, make_space
from ml_backend.acquisition.fusion import Component, fuse
from ml_backend.acquisition.kcenter import Coverage, k_center
from ml_backend.acquisition.kmedian import k_median
from ml_backend.acquisition.order_window import Params, Strategy
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.selection import select


def order(x: FloatArray, count: int, weight: FloatArray | None = None, labelled: FloatArray | None = None) -> list[int]:
    """Positions picked among points (n, D)."""
    space = make_space("l2", x, labelled)
    w = np.ones(len(x)) if weight is None else weight
    return [pick.position for pick in k_median(space, Coverage(space), w, count, np.ones(len(x), dtype=np.bool_))]


def test_the_first_pick_without_labels_is_the_weighted_median_on_a_line() -> None:
    x = np.array([[0.0], [1.0], [2.0], [3.0], [100.0]])
    assert order(x, 1) == [2]
    assert order(x, 1, np.array([5.0, 1, 1, 1, 1])) == [0]  # more than half of the weight lies at 0


def test_a_gain_is_the_fall_of_the_weighted_mean_distance() -> None:
    """Labelled at 0; points at 4 (weight 1) and 5 (weight 3).  5 saves 1 * (4 - 1) + 3 * 5 = 18, 4 saves 4 + 3 * (5 - 1) = 16."""
    space = make_space("l2", np.array([[4.0], [5.0]]), np.array([[0.0]]))
    (pick,) = k_median(space, Coverage(space), np.array([1.0, 3.0]), 1, np.ones(2, dtype=np.bool_))
    assert pick.position == 1
    assert pick.term_distance == pytest.approx(18 / 4)
    assert pick.stands_for == 2
    assert pick.nearest == 0


def test_a_cluster_is_worth_more_than_an_outlier_that_k_center_takes() -> None:
    x = np.concatenate([np.full((1, 1), 50.0), 20.0 + 0.01 * np.arange(40)[:, None], np.zeros((1, 1))])
    space = make_space("l2", x, np.zeros((1, 1)))
    assert k_center(space, 1).tolist() == [0]
    assert 1 <= order(x, 1, labelled=np.zeros((1, 1)))[0] <= 40


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 14), st.integers(0, 3), st.integers(1, 6), st.integers(0, 10_000))
def test_lazy_evaluation_picks_what_evaluating_everything_picks(n: int, labelled: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, known, w = rng.normal(size=(n, 2)), rng.normal(size=(labelled, 2)), rng.integers(0, 4, n).astype(float)
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
    far = 2 * distance[0].max() + 1
    nearest = np.linalg.norm(x[:, None] - known[None], axis=-1).min(axis=1, initial=np.inf)
    nearest = np.where(np.isinf(nearest), far, nearest)
    expected: list[int] = []
    gains = []
    while len(expected) < min(count, n):
        gain = (w * np.maximum(nearest - distance, 0)).sum(axis=1) / (w.sum() or 1.0)
        gain[expected] = -1
        expected.append(int(gain.argmax()))
        gains.append(gain.max())
        nearest = np.minimum(nearest, distance[expected[-1]])
    space = make_space("l2", x, known)
    picks = k_median(space, Coverage(space), w, count, np.ones(n, dtype=np.bool_))
    assert [pick.term_distance for pick in picks] == pytest.approx(gains, abs=1e-5)
    assert all(a >= b - 1e-5 for a, b in pairwise(gains))  # gains only shrink


def test_neighbours_in_time_come_only_when_nothing_else_is_left() -> None:
    x = np.array([[0.0], [10.0], [10.1], [3.0]])
    space = make_space("l2", x, np.zeros((1, 1)))
    picks = k_median(
        space, Coverage(space), np.ones(4), 4, np.ones(4, dtype=np.bool_), around=lambda i: slice(max(i - 1, 0), i + 2)
    )
    assert [pick.position for pick in picks[:2]] == [1, 3]  # 2 lies beside 1 in time, 0 lies beside 1 as well
    assert sorted(pick.position for pick in picks) == [0, 1, 2, 3]


def test_closed_and_unusable_frames_are_not_picked() -> None:
    x = np.array([[np.nan], [1.0], [2.0]])
    space = make_space("l2", x)
    open_ = np.array([True, True, False])
    assert [pick.position for pick in k_median(space, Coverage(space), np.ones(3), 3, open_)] == [1]
    assert not open_[1]


def test_wrong_weights_are_refused() -> None:
    space = make_space("l2", np.zeros((2, 1)))
    for weight in (np.ones(3), np.array([1.0, np.nan]), np.array([1.0, -1.0])):
        with pytest.raises(BadInputError, match="k_median: expected"):
            k_median(space, Coverage(space), weight, 1, np.ones(2, dtype=np.bool_))


def bad_corner_and_crowd() -> tuple[Pool, FeatureSet, FloatArray]:
    """60 frames near the labelled one, 20 alike elsewhere, 3 lonely ones; scores rise with the distance."""
    x = np.concatenate([0.1 * np.arange(60), 30 + 0.1 * np.arange(20), [60.0, 80.0, 100.0]])[:, None]
    pool = Pool.from_keys([FrameKey("s", i) for i in range(len(x))])
    return pool, FeatureSet(x, labelled=np.zeros((1, 1)), name="place", unit="m"), x[:, 0]


def test_in_a_selection_the_batch_speaks_for_many_and_says_so() -> None:
    pool, features, score = bad_corner_and_crowd()
    fused = fuse([Component("mc", score)], len(pool))
    params = Params(window=10, batch=2, strategy=Strategy.K_MEDIAN, exclusion_frames=0, random_every=0)
    selection = select(pool, fused, params, features=features)
    first = selection.picks[0]
    assert 60 <= first.position < 80
    assert first.greedy is not None
    assert first.greedy.stands_for == 23  # its twenty, and the three that are nearer to it than to the labelled one
    record = build_record(first, selection, fused, RoundContext(1, "m"), features=features)
    assert record.why[-1] == "stands for 23 frames like it"
    assert "stands for 23 frames" in explain(record)
    assert [pick.kind for pick in selection.picks[:3]] == ["diverse", "diverse", "ranked"]


def test_a_trade_off_of_zero_forgets_the_scores_and_a_large_one_forgets_the_crowd() -> None:
    x = np.concatenate([np.full(50, 10.0), np.full(10, -10.0)])[:, None]
    pool = Pool.from_keys([FrameKey("s", i) for i in range(60)])
    score = np.where(x[:, 0] < 0, 1.0, 0.0)
    fused, features = fuse([Component("mc", score)], 60), FeatureSet(x, labelled=np.zeros((1, 1)))
    for trade_off, place in ((0.0, 10.0), (8.0, -10.0)):
        params = Params(window=5, batch=1, strategy=Strategy.K_MEDIAN, trade_off=trade_off, random_every=0)
        assert x[select(pool, fused, params, features=features).picks[0].position, 0] == place


def test_of_large_pools_every_nth_frame_stands_for_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_builders, "MOST_PAIRED", 21)
    pool, features, score = bad_corner_and_crowd()
    params = Params(window=10, batch=2, strategy=Strategy.K_MEDIAN, random_every=0, exclusion_frames=4)
    picks = select(pool, fuse([Component("mc", score)], len(pool)), params, features=features).picks
    assert 60 <= picks[0].position < 80
    assert abs(picks[0].position - picks[1].position) > 4
    assert len({pick.position for pick in picks}) == 10
