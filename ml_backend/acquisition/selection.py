"""The order of the window: which frames people are asked to label, and in which sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, FrameKey, IntArray
from ml_backend.acquisition.fusion import Fused, min_max
from ml_backend.acquisition.hybrid import suppress_neighbours
from ml_backend.acquisition.kcenter import Balance, Coverage, GreedyPick, clamp_performance, greedy
from ml_backend.acquisition.kmeans import flatten_poses, k_means
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.spaces import Features, FeatureSet, make_space


class Strategy(StrEnum):
    """How the first batch of the window is chosen; the rest follows by fused score."""

    DUW = "duw"  #: distance and uncertainty together (VATL4Pose, equation 9), distances normalised, G clamped
    DUW_PAPER = "duw_paper"  #: the printed formula: raw distances, raw G, fused score stretched to [0, 1]
    K_CENTER = "k_center"  #: distance alone (core-set)
    K_MEANS = "k_means"  #: the frame nearest to the centre of each cluster, largest cluster first
    HYBRID = "hybrid"  #: most uncertain first, near neighbours suppressed; filter with ``hybrid.filter_frames``
    TOP = "top"  #: fused score alone
    RANDOM = "random"  #: no preference at all, no temporal exclusion


class Kind(StrEnum):
    """Why a frame is in the window."""

    DIVERSE = "diverse"  #: part of the batch that the strategy chose
    RANKED = "ranked"  #: by fused score
    UNSCORED = "unscored"  #: no score says anything: by diversity alone
    RANDOM = "random"  #: drawn blindly, for unbiased evaluation


@dataclass(frozen=True)
class Params:
    """Settings of a selection.

    window           frames in the order (fewer when the pool is smaller)
    batch            first frames of the window, chosen by ``strategy``
    performance      G: quality of the last labelled batch in [0, 1], NaN = not known yet
    trade_off        lambda: factor of the uncertainty in DUW
    exclusion_frames no two picks of one sequence are this near or nearer in frame number, unless nothing else is left; 0 = off
    random_every     every that many slots one is random; 0 = none
    blind            random picks are served without points
    shortlist        at most so many frames compete in the diverse order
    """

    window: int = 500
    batch: int = 50
    strategy: Strategy = Strategy.DUW
    performance: float = float("nan")
    trade_off: float = 1.0
    exclusion_frames: int = 5
    random_every: int = 10
    blind: bool = True
    shortlist: int = 50_000
    seed: int = 0

    def __post_init__(self) -> None:
        lowest = {"window": 1, "batch": 0, "exclusion_frames": 0, "random_every": 0, "seed": 0, "shortlist": self.window}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise BadInputError(f"selection: {name} must be at least {low}, got {getattr(self, name)}")
        if not (np.isnan(self.performance) or 0 <= self.performance <= 1):
            raise BadInputError(f"selection: performance must lie in [0, 1] or be NaN, got {self.performance}")
        if not (np.isfinite(self.trade_off) and self.trade_off >= 0):
            raise BadInputError(f"selection: trade_off must be a finite number >= 0, got {self.trade_off}")

    @property
    def balance(self) -> Balance:
        """The weights of DUW that the strategy means."""
        if self.strategy is Strategy.DUW:
            return Balance(clamp_performance(self.performance), self.trade_off)
        if self.strategy is Strategy.DUW_PAPER:
            return Balance(0.0 if np.isnan(self.performance) else self.performance, self.trade_off, normalised=False)
        return Balance()


@dataclass(frozen=True)
class Pick:
    """One place in the window.

    position  in the pool
    rank      0 = label first
    score     for "lowest score first" queues: rank / power of two, in [0, 1)
    blind     serve without points
    greedy    what the diverse order saw, None for other picks; its ``position`` is that of the pool
    """

    key: FrameKey
    position: int
    rank: int
    score: float
    kind: Kind
    blind: bool = False
    greedy: GreedyPick | None = None


@dataclass(frozen=True)
class Selection:
    """The ordered window and the settings it came from."""

    picks: tuple[Pick, ...]
    params: Params

    @property
    def sticky(self) -> dict[int, FrameKey]:
        """rank -> frame of the random picks; hand it to the next selection so that they keep their places."""
        return {pick.rank: pick.key for pick in self.picks if pick.kind is Kind.RANDOM}


def rank_score(rank: int, total: int) -> float:
    """Rank as a number in [0, 1), strictly increasing; 0 = first.

    The divisor is a power of two, so that the number is exact in float32 and float64 and short in decimal: it survives
    JSON and any database.
    """
    if not 0 <= rank < total:
        raise BadInputError(f"rank_score: expected a rank in 0..{total - 1}, got {rank}")
    return rank / (1 << (total - 1).bit_length())


def select(
    pool: Pool,
    fused: Fused,
    params: Params,
    *,
    features: FeatureSet | None = None,
    eligible: BoolArray | None = None,
    sticky: Mapping[int, FrameKey] | None = None,
) -> Selection:
    """Order the window.

    fused     scores of the frames of the pool (``fusion.fuse``)
    features  what makes frames near or far.  Without them the batch is ranked by score and unscored frames are spread
              evenly in time.
    eligible  (n,) False = not to be picked except at random (nobody in the picture, copies, filtered out)
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
    if eligible is not None and eligible.shape != (n,):
        raise BadInputError(f"select: expected eligible of shape ({n},), got {eligible.shape}")
    rng = np.random.default_rng(params.seed)
    random_at = _random_slots(pool, params, sticky or {}, rng)
    may = np.ones(n, dtype=np.bool_) if eligible is None else eligible.copy()
    may[list(random_at.values())] = False
    chosen = _choose(pool, fused.total, may, features, params, random_at, rng)
    return Selection(_arrange(pool, chosen, random_at, params), params)


@dataclass(frozen=True)
class _Choice:
    position: int
    kind: Kind
    greedy: GreedyPick | None = None


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


def _shortlist(total: FloatArray, may: BoolArray, size: int) -> IntArray:
    """Increasing positions of the frames that compete: all of them if they fit.

    Else the best scored ones and, in proportion to their number, unscored ones at even distances.
    """
    candidates = np.flatnonzero(may)
    if len(candidates) <= size:
        return candidates
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
    features: FeatureSet | None,
    params: Params,
    random_at: Mapping[int, int],
    rng: np.random.Generator,
) -> list[_Choice]:
    """Everything but the random slots, in order."""
    need = min(params.window, len(pool)) - len(random_at)
    if params.strategy is Strategy.RANDOM:
        order = rng.permutation(np.flatnonzero(may))[:need]
        return [_Choice(int(position), Kind.RANKED) for position in order]
    short = _shortlist(total, may, params.shortlist)
    drawn: IntArray = np.array(sorted(random_at.values()), dtype=np.int64)
    contest = _Contest(pool, np.union1d(short, drawn), total, features, params)
    contest.withdraw(drawn, counted={position for rank, position in random_at.items() if rank < params.batch})
    contest.choose_batch(min(need, params.batch - sum(rank < params.batch for rank in random_at)))
    contest.choose_by_score(need)
    contest.choose_unscored(need)
    return contest.chosen


class _Contest:
    """The candidates of one selection, what is still open and what lies too near in time to a pick."""

    def __init__(self, pool: Pool, positions: IntArray, total: FloatArray, features: FeatureSet | None, params: Params) -> None:
        self.positions, self.params = positions, params
        self.pool, self.total = pool.take(positions), total[positions]
        self.open = np.ones(len(positions), dtype=np.bool_)
        self.hidden = np.zeros(len(positions), dtype=np.bool_)
        self.chosen: list[_Choice] = []
        self.covered: set[int] = set()
        self.rows: Features | None = None
        if features is not None and len(positions):
            self.rows = features.rows[positions]
            self.space = make_space(features.metric, self.rows, features.labelled)
            self.coverage = Coverage(self.space)

    def around(self, position: int) -> slice:
        """Candidates too near in time to the one at ``position``."""
        if not self.params.exclusion_frames:
            return slice(position, position + 1)
        return self.pool.near(position, self.params.exclusion_frames)

    def take(self, position: int, kind: Kind, seen: GreedyPick | None = None) -> None:
        self.open[position] = False
        self.hidden[self.around(position)] = True
        self.chosen.append(_Choice(int(self.positions[position]), kind, seen))

    def cover(self, position: int) -> None:
        """Let a pick count as labelled in the search for diversity, once."""
        if position not in self.covered:
            self.coverage.add(position)
            self.covered.add(position)

    def withdraw(self, drawn: IntArray, counted: set[int]) -> None:
        """Random picks are gone; those that come up with the batch also count as covered."""
        for position in np.searchsorted(self.positions, drawn):
            self.open[position] = False
            self.hidden[self.around(int(position))] = True
            if self.rows is not None and int(self.positions[position]) in counted:
                self.cover(int(position))

    def choose_batch(self, count: int) -> None:
        """The first picks, by the strategy."""
        if self.rows is None or count <= 0 or self.params.strategy is Strategy.TOP:
            return
        if self.params.strategy is Strategy.HYBRID:
            picks = suppress_neighbours(self.space, self.total, count, self.open, around=self.around, hidden=self.hidden)
            for position in picks:
                self.take(position, Kind.DIVERSE)
        elif self.params.strategy is Strategy.K_MEANS:
            self._choose_clusters(self.rows, count)
        else:
            uncertainty = min_max(self.total) if self.params.strategy is Strategy.DUW_PAPER else self.total
            self._choose_greedily(count, self.open, Kind.DIVERSE, self.params.balance, uncertainty)

    def choose_by_score(self, need: int) -> None:
        """The rest in order of fused score; frames near in time to a pick only after all the others."""
        order = np.argsort(-self.total, kind="stable")
        scored = order[self.open[order] & ~np.isnan(self.total[order])]
        for position in scored:
            if len(self.chosen) >= need:
                return
            if not self.hidden[position]:
                self.take(int(position), Kind.RANKED)
        for position in scored:
            if len(self.chosen) >= need:
                return
            if self.open[position]:
                self.take(int(position), Kind.RANKED)

    def choose_unscored(self, need: int) -> None:
        """Frames about which no score says anything, by diversity alone."""
        if need <= len(self.chosen) or not self.open.any():
            return
        if self.rows is not None:
            for choice in self.chosen:
                self.cover(int(np.searchsorted(self.positions, choice.position)))
            self._choose_greedily(need - len(self.chosen), self.open, Kind.UNSCORED, Balance(), None)
            return
        order = [position for position in self.pool.spread() if self.open[position]]
        for position in order[: need - len(self.chosen)]:
            self.take(int(position), Kind.UNSCORED)

    def _choose_greedily(
        self, count: int, open_: BoolArray, kind: Kind, balance: Balance, uncertainty: FloatArray | None
    ) -> None:
        picks = greedy(
            self.coverage, count, open_, uncertainty=uncertainty, balance=balance, around=self.around, hidden=self.hidden
        )
        for pick in picks:
            self.take(pick.position, kind, replace(pick, position=int(self.positions[pick.position])))
            self.covered.add(pick.position)

    def _choose_clusters(self, rows: Features, count: int) -> None:
        flat = flatten_poses(rows) if rows.ndim == 3 else rows
        members = np.flatnonzero(self.open)
        clusters = k_means(flat[members], count, seed=self.params.seed)
        for cluster in range(int(clusters.label.max(initial=-1)) + 1):
            inside = np.flatnonzero(clusters.label == cluster)
            by_distance = members[inside[np.argsort(clusters.distance[inside], kind="stable")]]
            visible = by_distance[~self.hidden[by_distance]]
            self.take(int((visible if len(visible) else by_distance)[0]), Kind.DIVERSE)


def _arrange(pool: Pool, chosen: list[_Choice], random_at: Mapping[int, int], params: Params) -> tuple[Pick, ...]:
    """Random picks at their ranks, the others in order around them; no holes when the pool is small."""
    queue, total = iter(chosen), len(chosen) + len(random_at)
    order: list[_Choice] = []
    waiting = sorted(random_at.items())
    for rank in range(total):
        following = None if waiting and waiting[0][0] <= rank else next(queue, None)
        order.append(following or _Choice(waiting.pop(0)[1], Kind.RANDOM))
    return tuple(
        Pick(
            key=pool.key(choice.position),
            position=choice.position,
            rank=rank,
            score=rank_score(rank, total),
            kind=choice.kind,
            blind=params.blind and choice.kind is Kind.RANDOM,
            greedy=choice.greedy,
        )
        for rank, choice in enumerate(order)
    )
