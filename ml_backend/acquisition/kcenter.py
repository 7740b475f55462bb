"""Diverse orders: incremental greedy k-center, alone or with uncertainty added (DUW).

Greedy k-center picks the frame farthest from everything labelled or picked (core-set selection); DUW (VATL4Pose,
equation 9) maximises ``(1 - G) * distance / scale + G * trade_off * C`` instead.  Both need only the distance of every
candidate to its nearest neighbour among the labelled and picked: O(n) memory, one pass over the pool per pick, exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray
from ml_backend.acquisition.feature_spaces import Space


@dataclass(frozen=True)
class Balance:
    """How DUW weighs coverage against uncertainty.

    performance  G in [0, 1]: 0 = distance only, 1 = uncertainty only
    trade_off    lambda, factor of the uncertainty
    normalised   divide distances by their median over the candidates at the start of the batch, so that both terms are
                 of order one whatever the unit of the features; False = the printed formula
    """

    performance: float = 0.0
    trade_off: float = 1.0
    normalised: bool = True


@dataclass(frozen=True)
class GreedyPick:
    """One pick and why it won.

    position          row in the space
    distance          to the nearest labelled or picked frame at that moment, in the unit of the features; infinite when
                      there was none
    term_distance     (1 - G) * distance / scale; 0 when there was no frame to be distant from
    term_uncertainty  G * trade_off * C
    scale             divisor of the distance; NaN when there was no frame to be distant from
    nearest           row of the nearest labelled frame at the start, -1 = none
    stands_for        frames that it is nearer to than anything labelled or picked before; None where that was not counted
    """

    position: int
    distance: float
    term_distance: float
    term_uncertainty: float
    scale: float
    nearest: int
    stands_for: int | None = None


class Coverage:
    """Distance of every candidate to the nearest labelled or picked frame; grows with each pick.

    distance  (n,) float32, infinite while there is nothing to be near to; 0 for candidates without usable features,
              which therefore are never picked for their distance
    nearest   (n,) row of the nearest labelled frame, -1 = none
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.distance, self.nearest = space.nearest_reference()

    def add(self, position: int) -> None:
        """Let the candidate at ``position`` count as labelled."""
        if self._space.usable[position]:
            np.minimum(self.distance, self._space.distance_to(position), out=self.distance)
            self.distance[position] = 0.0

    def typical(self, among: BoolArray) -> float | None:
        """Median distance of the usable candidates in ``among`` (their mean when more than half are duplicates).

        None when there is nothing to be near to yet; 1 when every distance is 0.
        """
        distance = self.distance[among & self._space.usable].astype(np.float64)
        if np.isinf(distance).any():
            return None
        if not len(distance):
            return 1.0
        return float(np.median(distance)) or float(distance.mean()) or 1.0


def one_for_each(what: str, n: int, **arrays: FloatArray | BoolArray | None) -> None:
    """Raises BadInputError for an array that does not hold one number for each of the ``n`` candidates."""
    for name, array in arrays.items():
        if array is not None and array.shape != (n,):
            raise BadInputError(f"{what}: expected {name} of shape ({n},), one for each candidate, got {array.shape}")


def greedy(
    coverage: Coverage,
    count: int,
    open_: BoolArray,
    *,
    uncertainty: FloatArray | None = None,
    balance: Balance | None = None,
    around: Callable[[int], slice] | None = None,
    hidden: BoolArray | None = None,
) -> list[GreedyPick]:
    """The next ``count`` picks among the candidates that are ``open_``; both arrays and ``coverage`` are updated.

    uncertainty  (n,) C in [0, 1]; NaN = nothing known, ranked by distance alone
    around       positions too close in time to a pick to be picked in the same window
    hidden       (n,) True for candidates that are too close in time to earlier picks; they come only when no other is left

    Ties go to the lowest position.  With nothing labelled, the first pick is the most uncertain candidate that has
    features.
    """
    one_for_each("greedy", len(coverage.distance), open=open_, uncertainty=uncertainty, hidden=hidden)
    balance = balance or Balance()
    hidden = np.zeros(len(open_), dtype=np.bool_) if hidden is None else hidden
    bonus: FloatArray = np.zeros(len(open_))
    if uncertainty is not None:
        bonus = np.nan_to_num(balance.performance * balance.trade_off * uncertainty, nan=0.0)
    tie_break = bonus if uncertainty is None else np.nan_to_num(uncertainty, nan=-1.0)
    share = 1.0 - balance.performance
    scale = None if balance.normalised else 1.0
    value = np.empty(len(open_))
    picks: list[GreedyPick] = []
    while len(picks) < count and open_.any():
        if scale is None:
            scale = coverage.typical(open_)
        unreached = np.isinf(coverage.distance) & open_
        if unreached.any():
            np.copyto(value, np.where(unreached, tie_break, -np.inf))
        else:
            np.multiply(coverage.distance, share / (scale or 1.0), out=value)
            value += bonus
        value[~open_] = -np.inf
        visible = np.where(hidden, -np.inf, value)
        best = int(visible.argmax())
        if np.isneginf(visible[best]):
            best = int(value.argmax())
        distance = float(coverage.distance[best])
        term = share * distance / scale if scale and np.isfinite(distance) else 0.0
        nearest = int(coverage.nearest[best])
        picks.append(GreedyPick(best, distance, term, float(bonus[best]), scale or float("nan"), nearest))
        open_[best] = False
        coverage.add(best)
        if around is not None:
            hidden[around(best)] = True
    return picks


def k_center(space: Space, count: int) -> IntArray:
    """Greedy k-center: the positions of ``count`` candidates (fewer when the pool is smaller), best first."""
    picks = greedy(Coverage(space), count, np.ones(len(space), dtype=np.bool_), balance=Balance(normalised=False))
    return np.array([pick.position for pick in picks], dtype=np.int64)


def clamp_performance(performance: float) -> float:
    """G kept within [0.05, 0.95], so that neither term of DUW ever vanishes; NaN (not measured yet) gives 0.05."""
    return 0.05 if np.isnan(performance) else float(np.clip(performance, 0.05, 0.95))
