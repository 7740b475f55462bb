"""Partition of members of several groups into clusters with at most one member of a group each: largest total weight.

A pair in one cluster counts its weight, which may be negative; a pair apart counts 0.  What comes out is a partition, so every
cycle of pairs agrees.  This is correlation clustering with members that must stay apart, which is NP-hard (Bansal, Blum & Chawla
2004).  Clusters are contracted greedily (Keuper et al. 2015), then the members of one group after the other are assigned anew
and clusters joined until nothing helps.  Two groups cannot gain more from each other than their best assignment (Kuhn 1955):
where the value reaches the sum of these it is the largest.  Else, for few members, branch and bound settles it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from label_config.values import BoolArray, FloatArray, IntArray

#: Up to so many members the search for a better partition is begun …
SEARCHED_MEMBERS = 14
#: … and after so many nodes it is given up.
SEARCH_NODES = 2000
_EPSILON = 1e-9


@dataclass(frozen=True)
class Partition:
    """cluster (N,) numbers from 0 in the order of first members; ``value`` its weight; ``optimal``: none has a larger one."""

    cluster: IntArray
    value: float
    optimal: bool


def partition(weight: FloatArray, group: IntArray) -> Partition:
    """weight (N, N) symmetric and finite; group (N,) members of one group are never together.  Deterministic."""
    apart = group[:, None] == group[None]
    weight = np.where(apart, 0.0, weight)
    groups = [np.flatnonzero(group == name) for name in np.unique(group)]
    pair_bound = _pair_bounds(weight, groups)
    bound = float(np.triu(pair_bound, 1).sum())
    cluster = _improved(weight, groups, apart, _contracted(weight, apart))
    value = _value(weight, cluster)
    if value < bound - _EPSILON:
        other = _improved(weight, groups, apart, np.arange(len(group)))
        if _value(weight, other) > value + _EPSILON:
            cluster, value = other, _value(weight, other)
    optimal = value >= bound - _EPSILON
    if not optimal and len(group) <= SEARCHED_MEMBERS:
        search = _Search(weight, groups, pair_bound, cluster, value)
        optimal = search.run()
        cluster, value = search.best, search.value
    return Partition(_numbered(cluster), value, optimal)


def _value(weight: FloatArray, cluster: IntArray) -> float:
    return float(weight[cluster[:, None] == cluster[None]].sum()) / 2


def _numbered(cluster: IntArray) -> IntArray:
    """The same clusters, numbered in the order of their first members."""
    _, first, inverse = np.unique(cluster, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse], dtype=np.int64)


def _contracted(weight: FloatArray, apart: BoolArray) -> IntArray:
    """Join the two clusters of the largest positive weight, again and again."""
    between = np.where(apart, -np.inf, weight)
    cluster = np.arange(len(weight))
    while between.size:
        i, j = sorted(divmod(int(between.argmax()), len(between)))
        if between[i, j] <= _EPSILON:
            break
        cluster[cluster == j] = i
        between[i] += between[j]
        between[:, i] = between[i]
        between[i, i] = -np.inf
        between[j], between[:, j] = -np.inf, -np.inf
    return cluster


def _improved(weight: FloatArray, groups: list[IntArray], apart: BoolArray, cluster: IntArray) -> IntArray:
    """Until nothing helps: assign the members of one group after the other anew, all others kept, then join clusters."""
    value = _value(weight, cluster)
    while True:
        for members in groups:
            cluster = _assigned(weight, cluster, members)
        cluster = _joined(weight, apart, cluster)
        better = _value(weight, cluster)
        if better <= value + _EPSILON:
            return cluster
        value = better


def _assigned(weight: FloatArray, cluster: IntArray, members: IntArray) -> IntArray:
    """The best clusters for the members of one group.  An empty number, or that of a member alone, gains nothing."""
    gain = weight[members] @ _one_hot(cluster)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    if gain[rows, columns].sum() <= gain[rows, cluster[members]].sum() + _EPSILON:
        return cluster
    changed = cluster.copy()
    changed[members] = columns
    return changed


def _one_hot(cluster: IntArray) -> FloatArray:
    """(N, N) membership; more numbers than clusters, so that some are empty."""
    return np.asarray(cluster[:, None] == np.arange(len(cluster)), dtype=np.float64)


def _joined(weight: FloatArray, apart: BoolArray, cluster: IntArray) -> IntArray:
    """Clusters without members of the same group joined where that gains."""
    cluster = _numbered(cluster)
    member = _one_hot(cluster)[:, : int(cluster.max(initial=-1)) + 1]
    return _contracted(member.T @ weight @ member, member.T @ apart @ member > 0)[cluster]


def _pair_bounds(weight: FloatArray, groups: list[IntArray]) -> FloatArray:
    """(G, G) the best that two groups can gain from each other."""
    bounds = np.zeros((len(groups), len(groups)))
    positive = np.maximum(weight, 0.0)
    for a, first in enumerate(groups):
        rows = positive[first]
        for b in range(a + 1, len(groups)):
            bounds[a, b] = bounds[b, a] = _best_assignment(rows[:, groups[b]])
    return bounds


def _best_assignment(gain: FloatArray) -> float:
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return float(gain[rows, columns].sum())


class _Search:
    """Branch and bound over groups in turn, which give each member a cluster or one of its own."""

    def __init__(
        self, weight: FloatArray, groups: list[IntArray], pair_bound: FloatArray, cluster: IntArray, value: float
    ) -> None:
        self.weight, self.groups = weight, groups
        self.best, self.value = cluster, value
        self._later = [float(np.triu(pair_bound[depth:, depth:], 1).sum()) for depth in range(len(groups) + 1)]
        self._nodes = SEARCH_NODES

    def run(self) -> bool:
        """Whether the search came to its end, so that ``best`` and ``value`` are the largest."""
        self._place_group(0, np.full(len(self.weight), -1), 0.0)
        return self._nodes > 0

    def _place_group(self, depth: int, cluster: IntArray, value: float) -> None:
        if depth == len(self.groups):
            if value > self.value + _EPSILON:
                self.best, self.value = cluster, value
            return
        for placed, gain in self._placements(self.groups[depth], cluster):
            if self._nodes == 0:
                return
            self._nodes -= 1
            rest = sum(_best_assignment(np.maximum(self._gain(members, placed), 0.0)) for members in self.groups[depth + 1 :])
            if value + gain + rest + self._later[depth + 1] > self.value + _EPSILON:
                self._place_group(depth + 1, placed, value + gain)

    def _gain(self, members: IntArray, cluster: IntArray) -> FloatArray:
        """(m, N) what a member gains in the cluster of a number; -1 is no cluster."""
        return np.asarray(self.weight[members] @ _one_hot(cluster))

    def _placements(self, members: IntArray, cluster: IntArray) -> Iterator[tuple[IntArray, float]]:
        """All ways to give the members clusters, the most promising of each member first."""
        gain = self._gain(members, cluster)
        names = set(cluster[cluster >= 0].tolist())

        def place(position: int, taken: set[int], chosen: IntArray, total: float) -> Iterator[tuple[IntArray, float]]:
            if position == len(members):
                yield chosen, total
                return
            options = [(float(gain[position, name]), name) for name in sorted(names - taken)]
            own = next(name for name in range(len(cluster)) if name not in names and name not in taken)
            for plus, name in sorted([*options, (0.0, own)], key=lambda option: -option[0]):
                following = chosen.copy()
                following[members[position]] = name
                yield from place(position + 1, taken | {name}, following, total + plus)

        yield from place(0, set(), cluster, 0.0)
