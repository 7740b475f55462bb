"""How the frames of a window are chosen, step by step, among the candidates that compete."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from label_config.values import BoolArray, FloatArray, IntArray
from label_config.values.masked import masked_mean
from ml_backend.acquisition.feature_spaces import Features, FeatureSet, make_space
from ml_backend.acquisition.fusion import min_max, percentiles
from ml_backend.acquisition.hybrid import suppress_neighbours
from ml_backend.acquisition.kcenter import Balance, Coverage, GreedyPick, greedy
from ml_backend.acquisition.kmeans import flatten_poses, k_means
from ml_backend.acquisition.kmedian import k_median
from ml_backend.acquisition.order_window import Kind, Params, Strategy
from ml_backend.acquisition.pool import Pool

#: k-medians compares all pairs of frames: of more than this many, every n-th stands for its neighbours in time.
MOST_PAIRED = 4096


@dataclass(frozen=True)
class Choice:
    """A candidate that was chosen; ``position`` is that of the pool."""

    position: int
    kind: Kind
    greedy: GreedyPick | None = None


class BatchBuilder:
    """The candidates of one selection, what is still open and what lies too near in time to a pick."""

    def __init__(self, pool: Pool, positions: IntArray, total: FloatArray, features: FeatureSet | None, params: Params) -> None:
        self.positions, self.params = positions, params
        self.pool, self.total = pool.take(positions), total[positions]
        self.open = np.ones(len(positions), dtype=np.bool_)
        self.hidden = np.zeros(len(positions), dtype=np.bool_)
        self.chosen: list[Choice] = []
        self.covered: set[int] = set()
        self.rows: Features | None = None
        if features is not None and len(positions):
            self.rows = features.rows[positions]
            self.space = make_space(features.metric, self.rows, features.labelled)
            self.coverage = Coverage(self.space)
            self.labelled = features.labelled
            self.metric = features.metric

    def around(self, position: int) -> slice:
        """Candidates too near in time to the one at ``position``."""
        if not self.params.exclusion_frames:
            return slice(position, position + 1)
        return self.pool.near(position, self.params.exclusion_frames)

    def take(self, position: int, kind: Kind, seen: GreedyPick | None = None) -> None:
        self.open[position] = False
        self.hidden[self.around(position)] = True
        self.chosen.append(Choice(int(self.positions[position]), kind, seen))

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

    def choose_batch(self, count: int, passing: BoolArray) -> None:
        """The first picks, by the strategy; ``passing`` (n,) of the pool: the filter of the hybrid strategy."""
        if self.rows is None or count <= 0 or self.params.strategy is Strategy.TOP:
            return
        if self.params.strategy is Strategy.K_MEDIAN:
            self._choose_for_many(self.rows, count)
        elif self.params.strategy is Strategy.HYBRID:
            self._choose_uncertain(count, passing[self.positions])
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

    def _choose_for_many(self, rows: Features, count: int) -> None:
        n = len(self.positions)
        spread = np.unique(np.arange(min(n, MOST_PAIRED)) * n // min(n, MOST_PAIRED))
        members: IntArray = np.union1d(spread, np.array(sorted(self.covered), dtype=np.int64))
        space = make_space(self.metric, rows[members], self.labelled)
        coverage = Coverage(space)
        for position in np.searchsorted(members, sorted(self.covered)):
            coverage.add(int(position))
        weight = np.nan_to_num(percentiles(self.total[members]), nan=0.5) ** self.params.trade_off

        def around(position: int) -> slice:
            near = self.around(int(members[position]))
            first, last = np.searchsorted(members, [near.start, near.stop])
            return slice(int(first), int(last))

        picks = k_median(space, coverage, weight, count, self.open[members], around=around, hidden=self.hidden[members])
        for pick in picks:
            position = int(members[pick.position])
            self.take(position, Kind.DIVERSE, replace(pick, position=int(self.positions[position])))

    def _choose_uncertain(self, count: int, passing: BoolArray) -> None:
        """Filter, then diversity (Kaplan et al. 2021); where too few pass, the others fill the batch in like manner."""
        for candidates in (self.open & passing, self.open & ~passing):
            left = count - len(self.chosen)
            picks = suppress_neighbours(self.space, self.total, left, candidates, around=self.around, hidden=self.hidden)
            for position in picks:
                self.take(position, Kind.DIVERSE)

    def _choose_clusters(self, rows: Features, count: int) -> None:
        poses = masked_mean(rows, axis=1)[0] if rows.ndim == 4 else rows  # of several subjects, their mean
        flat = flatten_poses(poses) if poses.ndim == 3 else poses
        members = np.flatnonzero(self.open)
        clusters = k_means(flat[members], count, seed=self.params.seed)
        for cluster in range(int(clusters.label.max(initial=-1)) + 1):
            inside = np.flatnonzero(clusters.label == cluster)
            by_distance = members[inside[np.argsort(clusters.distance[inside], kind="stable")]]
            visible = by_distance[~self.hidden[by_distance]]
            self.take(int((visible if len(visible) else by_distance)[0]), Kind.DIVERSE)
