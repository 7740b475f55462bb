import itertools
import json
import sqlite3
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError, FrameKey
from ml_backend.acquisition.feature_spaces import FeatureSet
from ml_backend.acquisition.fusion import Component, fuse
from ml_backend.acquisition.order_window import Kind, Params, Selection, Strategy, rank_score
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.selection import select

NAN = float("nan")


def pool_of(n: int, sequences: int = 1) -> Pool:
    each = -(-n // sequences)
    return Pool.from_keys([FrameKey(f"s{i // each:02d}", i % each) for i in range(n)])


def order(selection: Selection) -> list[int]:
    return [pick.position for pick in selection.picks]


def plain(**changes: object) -> Params:
    """No random slots, no exclusion: the order itself."""
    return Params(**({"random_every": 0, "exclusion_frames": 0} | changes))  # type: ignore[arg-type]


def run(n: int, params: Params, *, seed: int = 0, scored: float = 1.0, features: bool = True, **more: object) -> Selection:
    rng = np.random.default_rng(seed)
    raw = np.where(rng.random(n) < scored, rng.random(n), NAN)
    held = FeatureSet(rng.normal(size=(n, 4)), labelled=rng.normal(size=(3, 4))) if features else None
    return select(pool_of(n, 3), fuse([Component("c", raw)], n), params, features=held, **more)  # type: ignore[arg-type]


@given(
    n=st.integers(0, 90),
    window=st.integers(1, 60),
    batch=st.integers(0, 40),
    strategy=st.sampled_from(list(Strategy)),
    scored=st.sampled_from([0.0, 0.6, 1.0]),
    features=st.booleans(),
    every=st.sampled_from([0, 1, 3, 10]),
    gap=st.sampled_from([0, 2, 50]),
)
@settings(deadline=None, max_examples=120)
def test_every_window_is_complete_ordered_and_repeatable(
    n: Any, window: Any, batch: Any, strategy: Any, scored: Any, features: Any, every: Any, gap: Any
) -> None:
    params = Params(
        window=window, batch=batch, strategy=strategy, random_every=every, exclusion_frames=gap, performance=0.5, shortlist=60
    )
    selection = run(n, params, scored=scored, features=features)
    picks = selection.picks
    assert len(picks) == min(window, n)
    assert len({pick.key for pick in picks}) == len(picks)
    assert [pick.rank for pick in picks] == list(range(len(picks)))
    scores = [pick.score for pick in picks]
    assert all(0 <= a < b < 1 for a, b in itertools.pairwise(scores))
    assert scores[:1] in ([], [0.0])
    for pick in picks:
        assert (pick.kind is Kind.RANDOM) == (every > 0 and pick.rank % every == every - 1)
        assert pick.without_points == (pick.kind is Kind.RANDOM)
    assert order(run(n, params, scored=scored, features=features)) == order(selection)


@given(st.integers(1, 5000))
@settings(deadline=None, max_examples=20)
def test_scores_survive_json_float32_and_sqlite(total: int) -> None:
    scores = [rank_score(rank, total) for rank in range(total)]
    assert scores[0] == 0
    assert scores[-1] < 1
    assert np.array(scores, dtype=np.float32).astype(float).tolist() == scores
    assert json.loads(json.dumps(scores)) == scores
    with sqlite3.connect(":memory:") as database:
        database.execute("create table t (score real)")
        database.executemany("insert into t values (?)", [(score,) for score in scores])
        assert [row[0] for row in database.execute("select score from t order by score")] == scores
    database.close()


def test_rank_outside_the_window_is_refused() -> None:
    for rank in (-1, 3):
        with pytest.raises(BadInputError, match="rank"):
            rank_score(rank, 3)


def test_top_is_the_fused_score() -> None:
    raw = np.array([0.3, NAN, 0.9, 0.3, 0.5])
    selection = select(pool_of(5), fuse([Component("c", raw)], 5), plain(strategy=Strategy.TOP))
    assert order(selection) == [2, 4, 0, 3, 1], "ties by position, unscored last"
    assert [pick.kind for pick in selection.picks][-2:] == [Kind.RANKED, Kind.UNSCORED]


def test_batch_is_diverse_and_the_rest_ranked() -> None:
    # Frames 0-2 are near the label and score high, 3 and 4 are far and score low.
    x = np.array([[0.1], [0.2], [0.3], [9.0], [-8.0]])
    fused = fuse([Component("c", np.array([5.0, 4.0, 3.0, 2.0, 1.0]))], 5)
    features = FeatureSet(x, labelled=np.zeros((1, 1)))
    selection = select(pool_of(5), fused, plain(batch=2, performance=0.0), features=features)
    assert order(selection) == [3, 4, 0, 1, 2]
    assert [pick.kind for pick in selection.picks] == [Kind.DIVERSE] * 2 + [Kind.RANKED] * 3
    first = selection.picks[0].greedy
    assert first is not None
    assert first.position == 3
    assert first.distance == pytest.approx(9.0)
    certain = select(pool_of(5), fused, plain(batch=2, strategy=Strategy.DUW_PAPER, performance=1.0), features=features)
    assert order(certain) == [0, 1, 2, 3, 4]


def test_greedy_picks_carry_pool_positions_when_the_contest_is_smaller() -> None:
    selection = run(40, plain(window=10, batch=10, shortlist=12, performance=0.5))
    assert all(pick.greedy is not None and pick.greedy.position == pick.position for pick in selection.picks)


def test_paper_mode_stretches_the_fused_score() -> None:
    # C of the paper reaches 1 for the best frame: term = G * lambda * 1.
    fused = fuse([Component("c", np.array([1.0, 2.0, 3.0]))], 3)
    params = plain(batch=1, strategy=Strategy.DUW_PAPER, performance=0.5, trade_off=4.0)
    selection = select(pool_of(3), fused, params, features=FeatureSet(np.zeros((3, 2)), labelled=np.zeros((1, 2))))
    greedy = selection.picks[0].greedy
    assert greedy is not None
    assert (greedy.position, greedy.term_uncertainty, greedy.scale) == (2, 2.0, 1.0)


def test_no_two_picks_of_a_sequence_are_near_unless_nothing_else_is_left() -> None:
    for strategy in (Strategy.DUW, Strategy.TOP, Strategy.K_CENTER, Strategy.K_MEANS, Strategy.HYBRID):
        params = Params(window=12, batch=6, exclusion_frames=4, random_every=0, strategy=strategy)
        keys = [pick.key for pick in run(300, params).picks]
        for sequence in {key.sequence for key in keys}:
            frames = sorted(key.index for key in keys if key.sequence == sequence)
            assert min(np.diff(frames), default=9) > 4, strategy
    few = run(9, Params(window=9, exclusion_frames=100, random_every=0))
    assert len(few.picks) == 9


def test_a_random_pick_also_keeps_its_neighbours_away() -> None:
    params = Params(window=4, batch=0, exclusion_frames=3, random_every=4, seed=5)
    keys = [
        pick.key.index for pick in select(pool_of(40), fuse([Component("c", np.arange(40, dtype=np.float64))], 40), params).picks
    ]
    assert min(np.diff(sorted(keys))) > 3


def test_random_picks_keep_their_place_while_they_are_open() -> None:
    params = Params(window=30, batch=10)
    first = run(200, params, seed=1)
    assert sorted(first.sticky) == [9, 19, 29]
    gone = first.sticky[9]
    n = 200
    keys = [pool_of(n, 3).key(i) for i in range(n)]
    left = [key for key in keys if key != gone]
    fused = fuse([Component("c", np.random.default_rng(7).random(len(left)))], len(left))
    second = select(Pool.from_keys(left), fused, Params(window=30, batch=10, seed=99), sticky=first.sticky)
    assert second.sticky[19] == first.sticky[19]
    assert second.sticky[29] == first.sticky[29]
    assert second.sticky[9] != gone


@pytest.mark.parametrize("seed", range(6))
def test_a_held_random_pick_is_not_drawn_again(seed: int) -> None:
    pool = pool_of(4)
    selection = select(pool, fuse([], 4), Params(random_every=1, seed=seed), sticky={2: pool.key(1)})
    assert sorted(order(selection)) == [0, 1, 2, 3]
    assert order(selection)[2] == 1


def test_random_picks_are_uniform_over_the_whole_pool() -> None:
    raw = np.array([NAN, 1.0, 2.0, 3.0, 4.0])
    fused = fuse([Component("c", raw)], 5)
    counts = np.zeros(5)
    for seed in range(400):
        params = Params(window=3, random_every=3, seed=seed)
        selection = select(pool_of(5), fused, params, eligible=np.array([True, False, True, True, True]))
        counts[order(selection)[2]] += 1
    # Binomial(400, 1/5): mean 80, standard deviation 8; five of them to either side.
    assert ((counts > 40) & (counts < 120)).all(), counts


def test_ineligible_frames_are_left_out() -> None:
    eligible = np.arange(20) % 2 == 0
    selection = run(20, plain(batch=5), eligible=eligible)
    assert sorted(order(selection)) == list(range(0, 20, 2))


def test_cold_start_with_features_is_k_center_throughout() -> None:
    x = np.random.default_rng(3).normal(size=(30, 4))
    selection = select(pool_of(30), fuse([], 30), plain(batch=5, strategy=Strategy.K_CENTER), features=FeatureSet(x))
    reached = [pick.greedy.distance for pick in selection.picks if pick.greedy]
    assert len(reached) == 30
    assert all(a >= b - 1e-5 for a, b in itertools.pairwise(reached))


def test_cold_start_without_features_is_spread_in_time() -> None:
    selection = select(pool_of(64), fuse([], 64), plain(window=4))
    assert order(selection) == [0, 32, 16, 48]


def test_unscored_frames_keep_clear_of_the_ranked_ones() -> None:
    x = np.array([[0.0], [10.0], [9.9], [4.0]])
    fused = fuse([Component("c", np.array([1.0, 2.0, NAN, NAN]))], 4)
    selection = select(pool_of(4), fused, plain(batch=0), features=FeatureSet(x))
    assert order(selection) == [1, 0, 3, 2]


def test_shortlist_takes_the_best_and_a_fair_part_of_the_unscored() -> None:
    raw = np.where(np.arange(100) < 50, np.arange(100.0), NAN)
    params = plain(window=20, batch=0, shortlist=20, strategy=Strategy.TOP)
    selection = select(pool_of(100), fuse([Component("c", raw)], 100), params)
    assert order(selection)[:10] == list(range(49, 39, -1))
    assert sorted(order(selection)[10:]) == list(range(50, 100, 5))


def test_hybrid_fills_its_batch_with_what_passes_the_filter_first() -> None:
    x = np.arange(8, dtype=float)[:, None] * 10
    fused = fuse([Component("a", np.arange(8, dtype=float))], 8)
    uncertain = np.array([True, True, False, False, False, False, False, False])
    params = plain(window=8, batch=4, strategy=Strategy.HYBRID)
    selection = select(pool_of(8), fused, params, features=FeatureSet(x), uncertain=uncertain)
    # 2 of 8 pass; of the 6 others, for 2 places, the best one (7) suppresses its two neighbours (6, 5); then by score
    assert order(selection) == [1, 0, 7, 4, 6, 5, 3, 2]
    assert order(select(pool_of(8), fused, params, features=FeatureSet(x)))[:4] == [7, 5, 3, 1]


def test_k_means_takes_the_middle_of_every_group() -> None:
    x = np.array([[0.0], [1.0], [2.0], [100.0], [101.0], [103.0], [104.0]])
    selection = select(pool_of(7), fuse([], 7), plain(window=2, batch=2, strategy=Strategy.K_MEANS), features=FeatureSet(x))
    # Means 1 and 102; 101 and 103 are equally near, the lower position wins.
    assert order(selection) == [4, 1]


def test_k_means_and_k_center_on_poses_with_missing_joints() -> None:
    poses = np.random.default_rng(0).normal(size=(20, 5, 3))
    poses[3] = NAN
    poses[4, :2] = NAN
    for strategy in (Strategy.K_MEANS, Strategy.K_CENTER, Strategy.HYBRID):
        features = FeatureSet(poses, "mean_joint")
        selection = select(pool_of(20), fuse([], 20), plain(batch=6, strategy=strategy), features=features)
        assert strategy is Strategy.HYBRID or 3 not in order(selection)[:6], "hybrid goes by uncertainty, which nobody has"
        assert sorted(order(selection)) == list(range(20))


def test_random_strategy_ignores_the_scores() -> None:
    heads = {tuple(order(run(50, plain(window=5, strategy=Strategy.RANDOM, seed=seed)))) for seed in range(5)}
    assert len(heads) == 5


def test_empty_pool_and_one_frame() -> None:
    assert run(0, Params()).picks == ()
    assert order(run(1, Params())) == [0]
    assert order(run(1, Params(random_every=1))) == [0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window": 0}, "window"),
        ({"performance": 1.5}, "performance"),
        ({"trade_off": -1.0}, "trade_off"),
        ({"window": 500, "shortlist": 100}, "shortlist"),
        ({"random_every": -1}, "random_every"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, float], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        Params(**changes)  # type: ignore[arg-type]


def test_arrays_of_another_pool_are_refused() -> None:
    pool, fused = pool_of(4), fuse([], 4)
    with pytest.raises(BadInputError, match="4 fused"):
        select(pool, fuse([], 5), Params())
    with pytest.raises(BadInputError, match="4 rows"):
        select(pool, fused, Params(), features=FeatureSet(np.zeros((5, 2))))
    with pytest.raises(BadInputError, match="eligible"):
        select(pool, fused, Params(), eligible=np.ones(3, dtype=bool))
