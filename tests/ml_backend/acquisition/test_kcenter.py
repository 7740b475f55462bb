import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError, FloatArray
from ml_backend.acquisition.feature_spaces import make_space
from ml_backend.acquisition.kcenter import Balance, Coverage, clamp_performance, greedy, k_center

NAN = float("nan")


def euclidean(a: FloatArray, b: FloatArray) -> float:
    return float(np.linalg.norm(a - b))


def mean_joint(a: FloatArray, b: FloatArray) -> float:
    """Mean over shared joints; 0 where fewer than half of K are shared."""
    shared = np.isfinite(a).all(1) & np.isfinite(b).all(1)
    return float(np.linalg.norm(a - b, axis=1)[shared].mean()) if shared.sum() >= 0.5 * len(a) else 0.0


def brute_force(
    features: FloatArray, labelled: FloatArray, count: int, distance: Any, bonus: FloatArray, share: float
) -> list[int]:
    """Equation by equation, O(n^2) and in float64; the first of equals wins."""
    chosen: list[int] = []
    for _ in range(count):
        best, best_value = -1, -np.inf
        for i in range(len(features)):
            if i in chosen:
                continue
            reached = [distance(features[i], row) for row in [*labelled, *features[chosen]]]
            value = share * min(reached) + bonus[i] if reached else bonus[i]
            if value > best_value + 1e-12:
                best, best_value = i, value
        chosen.append(best)
    return chosen


def positions(
    features: Any, count: Any, *, metric: Any = "l2", labelled: Any = None, uncertainty: Any = None, **balance: Any
) -> list[int]:
    space = make_space(metric, features, labelled)
    picks = greedy(
        Coverage(space), count, np.ones(len(features), dtype=bool), uncertainty=uncertainty, balance=Balance(**balance)
    )
    return [pick.position for pick in picks]


@pytest.mark.parametrize("n_labelled", [0, 1, 17])
@pytest.mark.parametrize("n", [1, 5, 120])
def test_equals_brute_force(n: int, n_labelled: int) -> None:
    rng = np.random.default_rng(n + n_labelled)
    x, labelled = rng.normal(5, 1, (n, 6)), rng.normal(5, 1, (n_labelled, 6))
    expected = brute_force(x, labelled, min(n, 30), euclidean, np.zeros(n), 1.0)
    assert positions(x, min(n, 30), labelled=labelled, normalised=False) == expected


@pytest.mark.parametrize("missing", [0, 3])
def test_mean_joint_equals_brute_force(missing: int) -> None:
    """With 3 of 8 joints missing at random every pose is usable, yet some pairs share only 2 or 3 joints."""
    rng = np.random.default_rng(3)
    x, labelled = rng.normal(size=(80, 8, 3)), rng.normal(size=(6, 8, 3))
    for pose in [*x, *labelled]:
        pose[rng.permutation(8)[:missing]] = NAN
    expected = brute_force(x, labelled, 40, mean_joint, np.zeros(80), 1.0)
    assert positions(x, 40, metric="mean_joint", labelled=labelled, normalised=False) == expected


def test_mean_joint_is_not_the_norm_of_the_whole_pose() -> None:
    # One joint far off beats many a little off in the L2 norm, not in the mean of distances.
    one_far, all_near = np.zeros((4, 3)), np.zeros((4, 3))
    one_far[0, 0], all_near[:, 0] = 5.0, 2.0
    labelled, poses = np.zeros((1, 4, 3)), np.stack([one_far, all_near])
    assert positions(poses.reshape(2, -1), 1, labelled=labelled.reshape(1, -1)) == [0]
    assert positions(poses, 1, metric="mean_joint", labelled=labelled) == [1]


def test_poses_with_few_joints_are_never_new_and_never_hide_others() -> None:
    poses = np.zeros((3, 4, 3))
    poses[0, :3] = NAN  # one joint of four
    poses[0, 3] = 100.0
    poses[2] += 1.0
    labelled = np.zeros((2, 4, 3))
    labelled[1, 1:] = NAN  # this labelled pose says nothing; it must not make everything look covered
    space = make_space("mean_joint", poses, labelled)
    distance, nearest = space.nearest_reference()
    np.testing.assert_allclose(distance, [0, 0, np.sqrt(3)], rtol=1e-6)
    assert nearest.tolist() == [-1, 0, 0]
    assert positions(poses, 3, metric="mean_joint", labelled=labelled) == [2, 0, 1]


def test_radius_never_grows_and_is_at_most_twice_the_optimum_on_a_line() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 100, (150, 1))
    x -= x[0]
    picks = greedy(Coverage(make_space("l2", x)), 150, np.ones(150, dtype=bool), balance=Balance(normalised=False))
    radii = [pick.distance for pick in picks[1:]]
    assert all(a >= b - 1e-4 for a, b in itertools.pairwise(radii))
    ordered = np.sort(x[:, 0])
    for k in (2, 5, 10):
        chosen = x[[pick.position for pick in picks[:k]], 0]
        radius = np.abs(ordered[:, None] - chosen).min(1).max()
        assert radius <= 2 * best_radius(ordered, k) + 1e-4


def best_radius(ordered: FloatArray, k: int) -> float:
    """Smallest radius with which k intervals cover points on a line: bisection over greedy covering."""
    low, high = 0.0, float(ordered[-1] - ordered[0])
    for _ in range(60):
        radius, used, start = (low + high) / 2, 0, 0
        while start < len(ordered):
            start = int(np.searchsorted(ordered, ordered[start] + 2 * radius, side="right"))
            used += 1
        low, high = (low, radius) if used <= k else (radius, high)
    return high


def test_duw_equals_brute_force() -> None:
    rng = np.random.default_rng(8)
    x, labelled, c = rng.normal(size=(90, 5)), rng.normal(size=(4, 5)), rng.random(90)
    expected = brute_force(x, labelled, 30, euclidean, 0.6 * 2.0 * c, 0.4)
    assert positions(x, 30, labelled=labelled, uncertainty=c, performance=0.6, trade_off=2.0, normalised=False) == expected


def test_duw_limits() -> None:
    rng = np.random.default_rng(1)
    x, labelled, c = rng.normal(size=(60, 4)), rng.normal(size=(3, 4)), rng.random(60)
    top = np.argsort(-c, kind="stable").tolist()
    for normalised in (False, True):
        with_c = positions(x, 60, labelled=labelled, uncertainty=c, performance=0.0, normalised=normalised)
        assert with_c == positions(x, 60, labelled=labelled, normalised=False), "G = 0 is k-center"
        assert positions(x, 60, labelled=labelled, uncertainty=c, performance=1.0, normalised=normalised) == top
        same = positions(np.zeros((60, 4)), 60, labelled=np.zeros((3, 4)), uncertainty=c, performance=0.5, normalised=normalised)
        assert same == top, "without distances the order is that of C"


@pytest.mark.parametrize("metric", ["l2", "mean_joint"])
def test_normalised_duw_ignores_the_unit_of_the_features(metric: str) -> None:
    rng = np.random.default_rng(2)
    shape = (100, 12) if metric == "l2" else (100, 4, 3)
    x, labelled, c = rng.normal(size=shape), rng.normal(size=shape)[:5], rng.random(100)
    kept = {"metric": metric, "uncertainty": c, "performance": 0.5}
    assert positions(x, 40, labelled=labelled, **kept) == positions(x * 1000, 40, labelled=labelled * 1000, **kept)
    printed = positions(x, 40, labelled=labelled, normalised=False, **kept)
    assert printed != positions(x * 1000, 40, labelled=labelled * 1000, normalised=False, **kept)


def test_both_terms_of_a_pick_are_told() -> None:
    # Distances 1, 2, 4 from the label: median 2.  G = 0.25, lambda = 2.
    x, labelled = np.array([[1.0], [2.0], [-4.0]]), np.zeros((1, 1))
    c = np.array([0.9, 0.1, 0.5])
    picks = greedy(Coverage(make_space("l2", x, labelled)), 3, np.ones(3, dtype=bool), uncertainty=c, balance=Balance(0.25, 2.0))
    assert [pick.position for pick in picks] == [2, 0, 1]
    first, second = picks[:2]
    assert first.nearest == 0
    assert first.scale == pytest.approx(2.0)
    np.testing.assert_allclose([first.distance, first.term_distance, first.term_uncertainty], [4, 0.75 * 4 / 2, 0.25], rtol=1e-6)
    np.testing.assert_allclose([second.distance, second.term_distance, second.term_uncertainty], [1, 0.375, 0.45], rtol=1e-6)


def test_first_pick_without_labels_is_the_most_uncertain_with_features() -> None:
    x = np.array([[NAN], [1.0], [2.0], [9.0]])
    assert positions(x, 4, uncertainty=np.array([1.0, 0.2, 0.6, 0.4]), performance=0.2)[:2] == [2, 3]
    assert positions(x, 4) == [1, 3, 2, 0], "ties go to the lowest position, missing features come last"
    picks = greedy(Coverage(make_space("l2", x)), 1, np.ones(4, dtype=bool))
    assert np.isinf(picks[0].distance)
    assert picks[0].term_distance == 0


def test_unscored_candidates_compete_by_distance_alone() -> None:
    x, labelled = np.array([[1.0], [1.1], [5.0]]), np.zeros((1, 1))
    assert positions(x, 1, labelled=labelled, uncertainty=np.array([0.9, 0.2, NAN]), performance=0.1) == [2]


def test_copies_are_at_distance_zero() -> None:
    rng = np.random.default_rng(4)
    x = np.repeat(rng.normal(1000, 1, (20, 33)), 5, axis=0)
    space = make_space("l2", x, x[:1])
    assert (space.distance_to(7)[5:10] == 0).all()
    picks = k_center(make_space("l2", x), 100)
    assert len(set(picks.tolist())) == 100
    assert len(set((picks[:20] // 5).tolist())) == 20, "every different frame before any copy"
    assert picks[20:].tolist() == sorted(picks[20:].tolist()), "copies tie, so the lowest come first"


@given(st.integers(0, 10_000))
@example(453)  # two candidates so close that rounding to float32 before centring swaps them
@settings(deadline=None, max_examples=20)
def test_order_does_not_depend_on_where_the_origin_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 3))
    assert k_center(make_space("l2", x), 15).tolist() == k_center(make_space("l2", x + [1e3, -2e3, 5e2]), 15).tolist()


def test_picking_a_frame_without_features_covers_nothing() -> None:
    poses = np.random.default_rng(6).normal(size=(5, 4, 3))
    poses[2] = NAN
    coverage = Coverage(make_space("mean_joint", poses, poses[:1]))
    before = coverage.distance.copy()
    coverage.add(2)
    np.testing.assert_array_equal(coverage.distance, before)
    coverage.add(1)
    assert (coverage.distance[3:] > 0).all()
    assert coverage.distance[1] == 0


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([1.0, 2.0, 6.0], 2.0),
        ([0.0, 0.0, 0.0, 8.0], 2.0),  # median 0: mean
        ([0.0, 0.0], 1.0),  # nothing but copies
        ([NAN, 3.0], 3.0),
    ],
)
def test_typical_distance(x: list[float], expected: float) -> None:
    features = np.array(x)[:, None]
    coverage = Coverage(make_space("l2", features, np.zeros((1, 1))))
    assert coverage.typical(np.ones(len(x), dtype=bool)) == pytest.approx(expected)
    assert Coverage(make_space("l2", np.ones((2, 1)))).typical(np.ones(2, dtype=bool)) is None


def test_exclusion_is_kept_until_nothing_else_is_left() -> None:
    x = np.arange(6, dtype=float)[:, None]
    hidden = np.zeros(6, dtype=bool)
    picks = greedy(
        Coverage(make_space("l2", x)), 6, np.ones(6, dtype=bool), around=lambda i: slice(max(i - 2, 0), i + 3), hidden=hidden
    )
    # 0 hides 1, 2; 5 hides 3, 4; then the farthest of the hidden ones.
    assert [pick.position for pick in picks][:2] == [0, 5]
    assert sorted(pick.position for pick in picks) == list(range(6))
    assert hidden.all()


def test_empty_pool_and_more_wanted_than_there_is() -> None:
    assert k_center(make_space("l2", np.zeros((0, 4))), 5).tolist() == []
    assert k_center(make_space("mean_joint", np.zeros((0, 4, 3))), 5).tolist() == []
    assert k_center(make_space("l2", np.ones((2, 4))), 5).tolist() == [0, 1]
    assert k_center(make_space("l2", np.full((3, 4), NAN)), 5).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("metric", "shape", "labelled"), [("l2", (3, 4, 3), None), ("mean_joint", (3, 4), None), ("l2", (3, 4), (2, 5))]
)
def test_wrong_shapes_are_named(metric: Any, shape: Any, labelled: Any) -> None:
    with pytest.raises(BadInputError, match="expected"):
        make_space(metric, np.zeros(shape), None if labelled is None else np.zeros(labelled))


def test_many_references_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    x, labelled = rng.normal(size=(30, 4)), rng.normal(size=(50, 4))
    labelled[3] = NAN
    monkeypatch.setattr("ml_backend.acquisition.feature_spaces._BLOCK", 100)
    distance, nearest = make_space("l2", x, labelled).nearest_reference()
    full = np.linalg.norm(x[:, None] - np.where(np.isnan(labelled), 1e6, labelled), axis=2)
    np.testing.assert_allclose(distance, full.min(1), rtol=1e-4)
    assert nearest.tolist() == full.argmin(1).tolist()


def test_performance_is_clamped() -> None:
    assert [clamp_performance(g) for g in (0.0, 0.5, 1.0, NAN)] == [0.05, 0.5, 0.95, 0.05]
