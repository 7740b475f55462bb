"""Hybrid selection (Kaplan et al. 2021): an uncertainty filter, then diversity by suppressing near neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray
from ml_backend.acquisition.feature_spaces import Space

#: A keypoint whose strongest heatmap value is below this was not found.
FOUND = 0.3
#: Of the batch, at most this share shows nothing that was found.
EMPTY_SHARE = 0.1


def passes_filter(
    confidence: FloatArray, *, found: float = FOUND, least: int | None = None, rule: Literal["A", "B"] = "A"
) -> BoolArray:
    """(n,) True for uncertain frames.

    confidence  (n, K) strongest heatmap value of each keypoint over the picture; NaN = no peak, counts as not found
    least       threshold on the number of keypoints; None = a third of K, which is the paper's 6 of 18
    rule        the paper does not spell out the comparison.  A: at least ``least`` keypoints not found.
                B: fewer than ``least`` keypoints found.

    Frames without a person pass both rules; ``filter_frames`` caps them.
    """
    if confidence.ndim != 2:
        raise BadInputError(f"hybrid filter: expected confidence of shape (n, K), got {confidence.shape}")
    if rule not in ("A", "B"):
        raise BadInputError(f"hybrid filter: expected rule 'A' or 'B', got {rule!r}")
    least = max(1, round(confidence.shape[1] / 3)) if least is None else least
    n_found: IntArray = (confidence >= found).sum(axis=1)
    if rule == "B":
        return n_found < least
    return confidence.shape[1] - n_found >= least


def filter_frames(
    confidence: FloatArray,
    uncertainty: FloatArray,
    *,
    most_empty: int,
    found: float = FOUND,
    least: int | None = None,
    rule: Literal["A", "B"] = "A",
) -> BoolArray:
    """(n,) True for frames that pass the filter, of those without any found keypoint only the ``most_empty`` most uncertain.

    uncertainty  (n,) NaN comes last; ties go to the lowest position
    """
    if uncertainty.shape != confidence.shape[:1] or most_empty < 0:
        raise BadInputError(
            f"hybrid filter: expected one uncertainty for each of {len(confidence)} frames and most_empty >= 0, "
            f"got {uncertainty.shape} and {most_empty}"
        )
    passing = passes_filter(confidence, found=found, least=least, rule=rule)
    empty = np.flatnonzero(passing & ~(confidence >= found).any(axis=1))
    ranked = empty[np.argsort(-np.nan_to_num(uncertainty[empty], nan=-np.inf), kind="stable")]
    passing[ranked[most_empty:]] = False
    return passing


def filter_views(
    confidence: FloatArray,
    uncertainty: FloatArray,
    batch: int,
    *,
    found: float = FOUND,
    least: int | None = None,
    rule: Literal["A", "B"] = "A",
    empty_share: float = EMPTY_SHARE,
) -> BoolArray:
    """(n,) :func:`filter_frames` for pictures of several views: a keypoint is found by its mean over the views that have it.

    confidence   (n, V, K) strongest heatmap values, NaN = view or point missing
    uncertainty  (n,) ranks the frames in which nothing was found; of these at most ``empty_share * batch``, rounded up, pass
    """
    seen = np.isfinite(confidence)
    count = seen.sum(axis=1)
    total = np.where(seen, confidence, 0.0).sum(axis=1)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    # The small subtrahend undoes rounding: 0.1 * 30 is 3.0000000000000004 in binary.
    most_empty = math.ceil(empty_share * batch - 1e-9)
    return filter_frames(mean, uncertainty, most_empty=most_empty, found=found, least=least, rule=rule)


def suppress_neighbours(
    space: Space,
    uncertainty: FloatArray,
    count: int,
    open_: BoolArray,
    *,
    around: Callable[[int], slice] | None = None,
    hidden: BoolArray | None = None,
) -> list[int]:
    """Accept the most uncertain candidate, suppress its nearest neighbours, repeat; ``open_`` and ``hidden`` are updated.

    Each pick suppresses ceil(candidates / count) - 1 neighbours, so that ``count`` picks use up the candidates.
    ``around`` and ``hidden`` as in ``kcenter.greedy``.  Suppressed candidates come only when no other is left.
    """
    hidden = np.zeros(len(open_), dtype=np.bool_) if hidden is None else hidden
    each = -(-int(open_.sum()) // max(count, 1)) - 1
    value = np.nan_to_num(uncertainty, nan=-1.0)
    suppressed = np.zeros(len(open_), dtype=np.bool_)
    picks: list[int] = []
    while len(picks) < count and open_.any():
        preferred = open_ & ~hidden & ~suppressed
        if not preferred.any():
            preferred = open_ & ~hidden if (open_ & ~hidden).any() else open_
        best = int(np.where(preferred, value, -np.inf).argmax())
        picks.append(best)
        open_[best] = False
        if around is not None:
            hidden[around(best)] = True
        if space.usable[best]:
            near = np.flatnonzero(open_ & ~suppressed & space.usable)
            distance = space.distance_to(best)[near]
            suppressed[near[np.argsort(distance, kind="stable")[:each]]] = True
    return picks
