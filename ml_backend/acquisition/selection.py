"""The order of the window: which frames people are asked to label, and in which sequence."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, FrameKey, IntArray
from ml_backend.acquisition.batch_builders import BatchBuilder, Choice
from ml_backend.acquisition.feature_spaces import FeatureSet
from ml_backend.acquisition.fusion import Fused
from ml_backend.acquisition.order_window import Kind, Params, Pick, Selection, Strategy, rank_score
from ml_backend.acquisition.pool import Pool


def select(
    pool: Pool,
    fused: Fused,
    params: Params,
    *,
    features: FeatureSet | None = None,
    eligible: BoolArray | None = None,
    uncertain: BoolArray | None = None,
    sticky: Mapping[int, FrameKey] | None = None,
) -> Selection:
    """Order the window.

    fused     scores of the frames of the pool (``fusion.fuse``)
    features  what makes frames near or far.  Without them the batch is ranked by score and unscored frames are spread
              evenly in time.
    eligible  (n,) False = not to be picked except at random (nobody in the picture, copies, filtered out)
    uncertain (n,) frames that pass the filter of the hybrid strategy (``hybrid.filter_views``), None = all; its batch begins
              with them
    sticky    rank -> frame of random picks that are still open; they keep their ranks, frames that left the pool give
              theirs to a new draw

    Deterministic: ties go to the lowest position, draws come from ``params.seed``.  An empty pool gives an empty order.
    Raises BadInputError for arrays whose length is not that of the pool.
    """
    n = len(pool)
    if fused.total.shape != (n,):
        raise BadInputError(f"select: expected {n} fused scores, one for each frame of the pool, got {fused.total.shape}")
    if features is not None and features.rows.shape[0] != n:
        raise BadInputError(f"select: expected {n} rows of features, one for each frame of the pool, got {features.rows.shape}")
    for name, array in {"eligible": eligible, "uncertain": uncertain}.items():
        if array is not None and array.shape != (n,):
            raise BadInputError(f"select: expected {name} of shape ({n},), got {array.shape}")
    rng = np.random.default_rng(params.seed)
    random_at = _random_slots(pool, params, sticky or {}, rng)
    may = np.ones(n, dtype=np.bool_) if eligible is None else eligible.copy()
    may[list(random_at.values())] = False
    passing = np.ones(n, dtype=np.bool_) if uncertain is None else uncertain
    chosen = _choose(pool, fused.total, may, passing, features, params, random_at, rng)
    return Selection(_arrange(pool, chosen, random_at, params), params)


def _random_slots(pool: Pool, params: Params, sticky: Mapping[int, FrameKey], rng: np.random.Generator) -> dict[int, int]:
    """rank -> position of every random pick.  Drawn from the whole pool before anything else, hence unbiased."""
    if not params.random_every:
        return {}
    size = min(params.window, len(pool))
    known = pool.positions(sticky.values())
    held = {rank: known[key] for rank, key in sorted(sticky.items()) if key in known and 0 <= rank < size}
    vacant = [rank for rank in range(params.random_every - 1, size, params.random_every) if rank not in held]
    taken = set(held.values())
    drawn = rng.choice(len(pool), size=min(len(pool), len(vacant) + len(taken)), replace=False)
    fresh = (int(position) for position in drawn if int(position) not in taken)
    return held | dict(zip(vacant, fresh, strict=False))


def _shortlist(total: FloatArray, may: BoolArray, params: Params) -> IntArray:
    """Increasing positions of the frames that compete: all of them if they fit.

    Else the best scored ones and, in proportion to their number, unscored ones at even distances.  k-medians needs to know how
    many frames are alike: for it all of them at even distances.
    """
    candidates, size = np.flatnonzero(may), params.shortlist
    if len(candidates) <= size:
        return candidates
    if params.strategy is Strategy.K_MEDIAN:
        return np.asarray(candidates[np.arange(size) * len(candidates) // size])
    unscored = candidates[np.isnan(total[candidates])]
    scored = candidates[~np.isnan(total[candidates])]
    n_unscored = round(size * len(unscored) / len(candidates))
    even = unscored[np.arange(n_unscored) * len(unscored) // max(n_unscored, 1)]
    best = scored[np.argsort(-total[scored], kind="stable")[: size - n_unscored]]
    return np.sort(np.concatenate([even, best]))


def _choose(
    pool: Pool,
    total: FloatArray,
    may: BoolArray,
    passing: BoolArray,
    features: FeatureSet | None,
    params: Params,
    random_at: Mapping[int, int],
    rng: np.random.Generator,
) -> list[Choice]:
    """Everything but the random slots, in order."""
    need = min(params.window, len(pool)) - len(random_at)
    if params.strategy is Strategy.RANDOM:
        order = rng.permutation(np.flatnonzero(may))[:need]
        return [Choice(int(position), Kind.RANKED) for position in order]
    short = _shortlist(total, may, params)
    drawn: IntArray = np.array(sorted(random_at.values()), dtype=np.int64)
    builder = BatchBuilder(pool, np.union1d(short, drawn), total, features, params)
    builder.withdraw(drawn, counted={position for rank, position in random_at.items() if rank < params.batch})
    builder.choose_batch(min(need, params.batch - sum(rank < params.batch for rank in random_at)), passing)
    builder.choose_by_score(need)
    builder.choose_unscored(need)
    return builder.chosen


def _arrange(pool: Pool, chosen: list[Choice], random_at: Mapping[int, int], params: Params) -> tuple[Pick, ...]:
    """Random picks at their ranks, the others in order around them; no holes when the pool is small."""
    order = _around(chosen, {rank: Choice(position, Kind.RANDOM) for rank, position in random_at.items()})
    total = len(order)
    return tuple(
        Pick(
            key=pool.key(choice.position),
            position=choice.position,
            rank=rank,
            score=rank_score(rank, total),
            kind=choice.kind,
            without_points=params.random_without_points and choice.kind is Kind.RANDOM,
            greedy=choice.greedy,
        )
        for rank, choice in enumerate(order)
    )


def without(selection: Selection, gone: Collection[FrameKey], *, following: int = 0) -> Selection:
    """The order without some frames: random picks keep their ranks, the others move up around them.

    following  frames that somebody will put behind the order; the scores leave room for them
    """
    left = [pick for pick in selection.picks if pick.key not in gone]
    held = {pick.rank: pick for pick in left if pick.kind is Kind.RANDOM}
    order = _around((pick for pick in left if pick.kind is not Kind.RANDOM), held)
    total = len(order) + following
    return replace(
        selection, picks=tuple(replace(pick, rank=rank, score=rank_score(rank, total)) for rank, pick in enumerate(order))
    )


_T = TypeVar("_T")


def _around(queue: Iterable[_T], held: Mapping[int, _T]) -> list[_T]:
    """``held`` at its ranks and the queue in order around it; what is held moves up only when the queue has run out."""
    rest, waiting = deque(queue), deque(sorted(held.items()))
    order: list[_T] = []
    while rest or waiting:
        if waiting and (waiting[0][0] <= len(order) or not rest):
            order.append(waiting.popleft()[1])
        else:
            order.append(rest.popleft())
    return order
