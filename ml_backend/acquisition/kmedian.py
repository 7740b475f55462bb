"""Weighted k-medians: the frames that stand best for the frames that need labels.

A labelled frame helps the frames that look like it.  With d(i, j) the distance of two frames and w_j what is wrong with frame j,
the order greedily lowers ::

    F(S) = sum_j w_j * min_{i in labelled + S} d(i, j)

k-center (core-set) asks for the farthest frame and so for outliers; scores alone ask for many copies of the worst one.  Here a
frame is worth as much as the frames around it together: rare poses are learnt because they are badly predicted, common ones
because they are many.  F is a facility-location objective: gains only shrink as S grows (it is supermodular), hence greedy is
within 1 - 1/e of the best possible gain (Nemhauser, Wolsey & Fisher 1978) and stale gains are upper bounds, which spares most
evaluations (Minoux 1978).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from label_config.values import BadInputError, BoolArray, Float32Array, FloatArray
from ml_backend.acquisition.feature_spaces import Space
from ml_backend.acquisition.kcenter import Coverage, GreedyPick, one_for_each


def k_median(
    space: Space,
    coverage: Coverage,
    weight: FloatArray,
    count: int,
    open_: BoolArray,
    *,
    around: Callable[[int], slice] | None = None,
    hidden: BoolArray | None = None,
) -> list[GreedyPick]:
    """The next ``count`` picks among the candidates that are ``open_``; all arrays and ``coverage`` are updated.

    coverage  of ``space``: distances to what is labelled or picked already
    weight    (n,) w >= 0, how much each frame counts; all frames count, open or not
    around    positions too close in time to a pick to be picked in the same window
    hidden    (n,) True for candidates that are too close in time to earlier picks; they come only when no other is left

    Frames without usable features are neither picked nor counted.  With nothing labelled the first pick is the weighted medoid.
    Exact: the same picks as evaluating every gain every time; ties go to the lowest position.  O(n^2) distances at first, few
    for each pick; O(n) memory.  ``GreedyPick.term_distance`` is the gain, the fall of the weighted mean distance.
    """
    n = len(space)
    one_for_each("k_median", n, weight=weight, open=open_, hidden=hidden)
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise BadInputError("k_median: expected finite weights >= 0; give frames without a score a weight of their own")
    hidden = np.zeros(n, dtype=np.bool_) if hidden is None else hidden
    share = np.where(space.usable, weight, 0.0)
    share /= share.sum() or 1.0
    nothing_near = bool(np.isinf(coverage.distance).any())
    if nothing_near:
        _bound(space, coverage)
    queue = _Queue(space, coverage, share, open_)
    picks: list[GreedyPick] = []
    while len(picks) < count:
        found = queue.best(hidden) or queue.best(np.zeros(n, dtype=np.bool_))
        if found is None:
            break
        gain, best = found
        distance = float("inf") if nothing_near and not picks else float(coverage.distance[best])
        nearer = int((space.usable & (space.distance_to(best) < coverage.distance)).sum())
        picks.append(GreedyPick(best, distance, gain, 0.0, float("nan"), int(coverage.nearest[best]), stands_for=nearer))
        open_[best] = False
        coverage.add(best)
        if around is not None:
            hidden[around(best)] = True
    return picks


def _bound(space: Space, coverage: Coverage) -> None:
    """Nothing is labelled: all frames are equally far from it, farther than any two of them are from each other."""
    radius = space.distance_to(int(np.argmax(space.usable))).max()
    coverage.distance[np.isinf(coverage.distance)] = 2.0 * radius + 1.0


class _Queue:
    """The open candidates by their last known gain, which is never less than the gain now."""

    def __init__(self, space: Space, coverage: Coverage, share: FloatArray, open_: BoolArray) -> None:
        self.space, self.coverage, self.share = space, coverage, share
        self.heap = [(-np.inf, int(position)) for position in np.flatnonzero(open_ & space.usable)]

    def best(self, hidden: BoolArray) -> tuple[float, int] | None:
        """Gain and position of the best candidate that is not hidden, which leaves the queue; None without any."""
        aside = [entry for entry in self.heap if hidden[entry[1]]]
        self.heap = [entry for entry in self.heap if not hidden[entry[1]]]
        heapq.heapify(self.heap)
        found = None
        while self.heap:
            position = self.heap[0][1]
            now = (-self._gain(position), position)
            heapq.heapreplace(self.heap, now)
            if self.heap[0] == now:
                heapq.heappop(self.heap)
                found = (-now[0], position)
                break
        self.heap += aside
        return found

    def _gain(self, position: int) -> float:
        fall: Float32Array = np.maximum(self.coverage.distance - self.space.distance_to(position), 0.0)
        return float(fall @ self.share)
