"""The window: the frames that people are asked to label next, in order, and the settings it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from label_config.values import BadInputError, FrameKey
from ml_backend.acquisition.kcenter import Balance, GreedyPick, clamp_performance


class Strategy(StrEnum):
    """How the first batch of the window is chosen; the rest follows by fused score."""

    K_MEDIAN = "k_median"  #: frames that speak for many frames like them, each weighted by its fused score
    DUW = "duw"  #: distance and uncertainty together (VATL4Pose, equation 9), distances normalised, G clamped
    DUW_PAPER = "duw_paper"  #: the printed formula: raw distances, raw G, fused score stretched to [0, 1]
    K_CENTER = "k_center"  #: distance alone (core-set)
    K_MEANS = "k_means"  #: the frame nearest to the centre of each cluster, largest cluster first
    HYBRID = "hybrid"  #: most uncertain first, near neighbours suppressed; filter with ``hybrid.filter_views``
    TOP = "top"  #: fused score alone
    RANDOM = "random"  #: no preference at all, no temporal exclusion


class Kind(StrEnum):
    """Why a frame is in the window."""

    DIVERSE = "diverse"  #: part of the batch that the strategy chose
    RANKED = "ranked"  #: by fused score
    UNSCORED = "unscored"  #: no score says anything: by diversity alone
    RANDOM = "random"  #: drawn at random, for unbiased evaluation


@dataclass(frozen=True)
class Params:
    """Settings of a selection.

    window           frames in the order (fewer when the pool is smaller)
    batch            first frames of the window, chosen by ``strategy``
    performance      G: quality of the last labelled batch in [0, 1], NaN = not known yet
    trade_off        lambda: factor of the uncertainty in DUW, exponent of the fused score's percentile in k-medians
    exclusion_frames no two picks of one sequence are this near or nearer in frame number, unless nothing else is left; 0 = off
    random_every     every that many slots one is random; 0 = none
    random_without_points  random picks are served without points
    shortlist        at most so many frames compete in the diverse order
    """

    window: int = 500
    batch: int = 50
    strategy: Strategy = Strategy.K_MEDIAN
    performance: float = float("nan")
    trade_off: float = 1.0
    exclusion_frames: int = 5
    random_every: int = 10
    random_without_points: bool = True
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
    without_points  serve without points
    greedy    what the diverse order saw, None for other picks; its ``position`` is that of the pool
    """

    key: FrameKey
    position: int
    rank: int
    score: float
    kind: Kind
    without_points: bool = False
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
