"""Acquisition on pools that are empty, tiny, blank, repeated, infinite or of another shape (scores: test_every_score)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, BoolArray, FloatArray, FrameKey
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.feature_spaces import FeatureSet, make_space
from ml_backend.acquisition.features import (
    angle_triples,
    hybrid_features,
    paper_features,
    pose2d_features,
    pose3d_features,
    pose_size_px,
)
from ml_backend.acquisition.fusion import Component, Fused, fuse, min_max, percentiles
from ml_backend.acquisition.hybrid import filter_views, passes_filter, suppress_neighbours
from ml_backend.acquisition.kcenter import Balance, Coverage, greedy, k_center
from ml_backend.acquisition.kmeans import flatten_poses, k_means
from ml_backend.acquisition.large_pools import ShardedRows
from ml_backend.acquisition.order_window import Params, Strategy
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.reasons import RANKED, reason_line, reasons, worst_point
from ml_backend.acquisition.selection import select
from ml_backend.acquisition.stopping import Rule, advise, forecast, sc_min, sc_quantile

SKELETON = Skeleton("chain", ("a", "b", "c", "d"), ((0, 1), (1, 2), (2, 3)))
POSES = np.random.default_rng(0).normal(size=(5, 4, 2))
BLANK = [np.nan, np.inf, -np.inf]


def pool_of(n: int) -> Pool:
    return Pool.from_keys([FrameKey("s", i) for i in range(n)])


# --- features ------------------------------------------------------------------------------------------------------------

#: name → function of poses (n, 4, 2)
FEATURES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "pose3d": lambda x: pose3d_features(x, SKELETON),
    "pose2d": lambda x: pose2d_features(x, 0, np.ones(x.shape[:-2])),
    "size": pose_size_px,
    "hybrid": lambda x: hybrid_features(x, SKELETON),
    "paper": lambda x: paper_features(x, None, angle_triples(SKELETON), np.ones(x.shape[:-2])),
}
every_feature = pytest.mark.parametrize("name", FEATURES)


@every_feature
def test_features_of_no_pose_one_pose_and_copies(name: str) -> None:
    function = FEATURES[name]
    alone = function(POSES[:1])
    assert np.isfinite(alone).all()
    assert function(POSES[:0]).shape == (0, *alone.shape[1:])
    np.testing.assert_array_equal(function(np.repeat(POSES[:1], 3, axis=0)), np.repeat(alone, 3, axis=0))


@every_feature
@pytest.mark.parametrize("value", BLANK)
def test_features_of_blank_poses_are_nan(name: str, value: float) -> None:
    assert np.isnan(FEATURES[name](np.full((2, 4, 2), value))).all()


@pytest.mark.parametrize("name", sorted(set(FEATURES) - {"size", "pose2d"}))
def test_poses_with_too_few_joints_are_refused(name: str) -> None:
    with pytest.raises(BadInputError, match="K >= "):
        FEATURES[name](POSES[:, :2])


@every_feature
def test_features_of_something_else_are_refused(name: str) -> None:
    with pytest.raises(BadInputError, match=r"expected shape \(..., K, d\)"):
        FEATURES[name](np.zeros(3))


def test_sizes_of_other_poses_are_refused() -> None:
    with pytest.raises(BadInputError, match="one size for each pose"):
        pose2d_features(POSES, 0, np.ones(7))
    assert np.isnan(pose2d_features(POSES, 0, np.zeros(5))).all()
    assert np.isnan(pose_size_px(np.zeros((2, 0, 2)))).all()


# --- fusion --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [percentiles, min_max])
def test_scaling_at_the_edges(scale: Callable[[FloatArray], FloatArray]) -> None:
    assert scale(np.zeros(0)).shape == (0,)
    assert scale(np.array([7.0])).tolist() == [0.5]
    assert scale(np.full(4, 7.0)).tolist() == [0.5] * 4
    for value in BLANK:
        assert np.isnan(scale(np.full(3, value))).all()


@pytest.mark.parametrize("scaling", ["percentile", "minmax"])
def test_fusing_at_the_edges(scaling: Any) -> None:
    assert fuse([], 0, scaling).total.shape == (0,)
    assert fuse([Component("a", np.zeros(0))], 0, scaling).total.shape == (0,)
    assert np.isnan(fuse([], 3, scaling).total).all()
    assert np.isnan(fuse([Component("a", np.full(3, np.inf))], 3, scaling).total).all()
    assert fuse([Component("a", np.array([2.0]))], 1, scaling).total.tolist() == [0.5]


@pytest.mark.parametrize(
    "call",
    [
        lambda: percentiles(np.zeros((2, 2))),
        lambda: fuse([Component("a", np.zeros(2))], 3),
        lambda: fuse([], 3, "ranks"),  # type: ignore[arg-type]
        lambda: Component("a", np.zeros((2, 2))),
        lambda: Component("a", np.zeros(2), weight=np.nan),
    ],
)
def test_scores_that_do_not_fit_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(BadInputError, match=r"expected|must"):
        call()


# --- spaces and diverse orders -------------------------------------------------------------------------------------------

SHAPES = {"l2": (5, 3), "mean_joint": (5, 4, 3)}
every_space = pytest.mark.parametrize("metric", SHAPES)


@every_space
@pytest.mark.parametrize("value", [*BLANK, 1.0])
def test_candidates_that_cannot_be_told_apart_come_in_order(metric: Any, value: float) -> None:
    space = make_space(metric, np.full(SHAPES[metric], value))
    assert k_center(space, 3).tolist() == [0, 1, 2]
    assert k_center(space, 9).tolist() == [0, 1, 2, 3, 4]


@every_space
@pytest.mark.parametrize("n", [0, 1])
def test_no_candidate_and_one(metric: Any, n: int) -> None:
    features = np.ones(SHAPES[metric])[:n]
    space = make_space(metric, features)
    assert k_center(space, 3).tolist() == list(range(n))
    assert k_center(space, 0).tolist() == []
    assert suppress_neighbours(space, np.ones(n), 3, np.ones(n, dtype=bool)) == list(range(n))
    assert Coverage(space).typical(np.ones(n, dtype=bool)) == (1.0 if n == 0 else None)
    assert np.isinf(make_space(metric, np.ones(SHAPES[metric]), features[:0]).nearest_reference()[0]).all()


@every_space
@pytest.mark.parametrize("value", BLANK)
def test_blank_references_are_none(metric: Any, value: float) -> None:
    distance, nearest = make_space(metric, np.ones(SHAPES[metric]), np.full(SHAPES[metric], value)).nearest_reference()
    assert np.isinf(distance).all()
    assert (nearest == -1).all()


def test_spaces_and_orders_that_do_not_fit_are_refused() -> None:
    coverage = Coverage(make_space("l2", np.ones((3, 2))))
    some, all_ = np.ones(2, dtype=bool), np.ones(3, dtype=bool)
    for call in (
        lambda: make_space("cosine", np.ones((2, 2))),  # type: ignore[arg-type]
        lambda: make_space("l2", np.ones(4)),
        lambda: make_space("mean_joint", np.ones((2, 3, 3)), np.ones((2, 2, 3))),
        lambda: greedy(coverage, 2, some),
        lambda: greedy(coverage, 2, all_, uncertainty=np.ones(2), balance=Balance(0.5)),
        lambda: greedy(coverage, 2, all_, hidden=some),
    ):
        with pytest.raises(BadInputError, match="expected"):
            call()


def test_clusters_at_the_edges() -> None:
    assert k_means(np.zeros((0, 3)), 2).label.shape == (0,)
    assert k_means(np.ones((1, 3)), 2).label.tolist() == [0]
    assert k_means(np.ones((4, 3)), 3).label.tolist() == [0] * 4
    for value in BLANK:
        assert k_means(np.full((2, 3), value), 2).label.tolist() == [-1, -1]
        assert np.isnan(flatten_poses(np.full((2, 4, 3), value))).all()
    assert flatten_poses(np.zeros((0, 4, 3))).shape == (0, 12)
    for call in (lambda: k_means(np.zeros(3), 2), lambda: k_means(np.zeros((3, 1)), 0), lambda: flatten_poses(np.zeros((2, 3)))):
        with pytest.raises(BadInputError, match="expected"):
            call()


def test_the_filter_at_the_edges() -> None:
    assert passes_filter(np.zeros((0, 6))).shape == (0,)
    assert passes_filter(np.full((2, 6), np.nan)).all()
    assert filter_views(np.full((3, 1, 6), np.nan), np.full(3, np.nan), 1).tolist() == [True, False, False]
    calls: tuple[Callable[[], BoolArray], ...] = (
        lambda: passes_filter(np.zeros(6)),
        lambda: passes_filter(np.zeros((2, 6)), rule="C"),  # type: ignore[arg-type]
        lambda: filter_views(np.zeros((2, 1, 6)), np.zeros(3), 1),
        lambda: filter_views(np.zeros((2, 6)), np.zeros(2), 1),
    )
    for call in calls:
        with pytest.raises(BadInputError, match="expected"):
            call()


# --- pool, selection, shards ---------------------------------------------------------------------------------------------


def test_pools_at_the_edges() -> None:
    empty, pool = pool_of(0), pool_of(2)
    assert empty.spread().shape == (0,)
    assert empty.digest() != pool.digest()
    assert pool.positions([FrameKey("other", 0), FrameKey("s", 9)]) == {}
    assert len(pool.take(np.zeros(0, dtype=np.int64))) == 0
    for call in (
        lambda: pool.key(2),
        lambda: pool.key(-1),
        lambda: pool.near(2, 1),
        lambda: empty.key(0),
        lambda: Pool.from_keys([FrameKey("s", 1), FrameKey("s", 0)]),
        lambda: Pool.from_keys([FrameKey("s", 1), FrameKey("s", 1)]),
    ):
        with pytest.raises(BadInputError, match="Pool"):
            call()


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("n", [0, 1, 4])
@pytest.mark.parametrize("features", [None, np.nan, np.inf, 1.0])
@pytest.mark.parametrize("score", [np.nan, 0.5])
def test_every_strategy_orders_whatever_there_is(strategy: Strategy, n: int, features: float | None, score: float) -> None:
    """Each frame once, also where scores or features say nothing or the same about all."""
    total = np.full(n, score)
    rows = None if features is None else FeatureSet(np.full((n, 2), features))
    picks = select(pool_of(n), Fused(total, total[None], ()), Params(window=9, batch=2, strategy=strategy), features=rows).picks
    assert sorted(pick.position for pick in picks) == list(range(n))


def test_shards_at_the_edges(tmp_path: Path) -> None:
    none = ShardedRows([])
    assert none[np.zeros(0, dtype=np.int64)].shape == (0,)
    np.save(tmp_path / "empty.npy", np.zeros((0, 3), dtype=np.float32))
    np.save(tmp_path / "one.npy", np.ones((1, 3), dtype=np.float32))
    both = ShardedRows.open([tmp_path / "empty.npy", tmp_path / "one.npy", tmp_path / "empty.npy"])
    assert both.shape == (1, 3)
    np.testing.assert_array_equal(both[np.array([0, 0])], np.ones((2, 3)))
    for call in (
        lambda: none[np.array([0])],
        lambda: both[np.array([1])],
        lambda: both[np.array([-1])],
        lambda: ShardedRows.open([tmp_path / "missing.npy"]),
    ):
        with pytest.raises(BadInputError, match="shard"):
            call()


# --- stopping and reasons ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [sc_min, sc_quantile])
@pytest.mark.parametrize("oks", [np.zeros(0), np.full(3, np.nan), np.full(3, np.inf)])
def test_nothing_measured_is_never_enough(rule: Callable[[FloatArray, float], bool], oks: FloatArray) -> None:
    assert rule(oks, 0.5) is False
    assert rule(np.ones(1), 0.5) is True


@pytest.mark.parametrize("rule", Rule)
def test_no_advice_without_frames(rule: Rule) -> None:
    for rounds in ([], [np.zeros(0)], [np.full(3, np.nan)] * 3):
        advice = advise(rounds, rule=rule)
        assert not advice.met
        assert advice.frames == 0
        assert np.isnan(advice.figure)


def test_shares_and_curves_that_do_not_fit() -> None:
    for call in (lambda: sc_quantile(np.ones(3), 0.5, 2.0), lambda: forecast(np.ones(3), np.ones(4))):
        with pytest.raises(BadInputError, match="expected"):
            call()
    for blank in (np.zeros(0), np.full(5, np.nan), np.full(5, np.inf), np.full(5, 7.0)):
        assert forecast(blank, blank) is None


def test_no_reason_is_a_neutral_one() -> None:
    assert reasons([]) == (RANKED,)
    assert reason_line([]) == ""
    assert worst_point(np.full((2, 2), np.nan), ["a", "b"], ["x", "y"]) is None
    assert worst_point(np.zeros((0, 0)), [], []) is None
