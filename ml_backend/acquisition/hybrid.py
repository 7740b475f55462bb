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

    Frames without a person pass both rules; ``filter_views`` caps them.
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


def _capped(passing: BoolArray, empty: BoolArray, uncertainty: FloatArray, most_empty: int) -> BoolArray:
    """(n,) passing frames, of those that are empty only the most uncertain."""
    of_empty = np.flatnonzero(passing & empty)
    ranked = of_empty[np.argsort(-np.nan_to_num(uncertainty[of_empty], nan=-np.inf), kind="stable")]
    passing[ranked[most_empty:]] = False
    return passing


def filter_views(
    confidence: FloatArray,
    uncertainty: FloatArray,
    batch: int,
    *,
    found: float = FOUND,
    quantile: float | None = None,
    least: int | None = None,
    rule: Literal["A", "B"] = "A",
    empty_share: float = EMPTY_SHARE,
) -> BoolArray:
    """(n,) frames of which at least one picture passes :func:`passes_filter`: no camera hides that another found nothing.

    confidence   (n, V, K) strongest heatmap values; a view without any number is missing and has no say
    uncertainty  (n,) ranks the frames in which no view found anything; of these at most ``empty_share * batch``, rounded up, pass
    quantile     of each view, this share of its confidences counts as not found, whatever their size; None = by ``found``
    """
    if confidence.ndim != 3 or uncertainty.shape != confidence.shape[:1]:
        raise BadInputError(
            "hybrid filter: expected confidence of shape (n, V, K) and one uncertainty for each frame, "
            f"got {confidence.shape} and {uncertainty.shape}"
        )
    there: BoolArray = np.asarray(np.isfinite(confidence).any(axis=2))
    limit = [found if quantile is None else _quantile(confidence[:, v], quantile) for v in range(confidence.shape[1])]
    passing: BoolArray = np.asarray(~there.any(axis=1))
    empty = np.ones(len(confidence), dtype=np.bool_)
    for v, threshold in enumerate(limit):
        passing |= there[:, v] & passes_filter(confidence[:, v], found=threshold, least=least, rule=rule)
        empty &= ~(confidence[:, v] >= threshold).any(axis=1)
    # The small subtrahend undoes rounding: 0.1 * 30 is 3.0000000000000004 in binary.
    return _capped(passing, empty, uncertainty, math.ceil(empty_share * batch - 1e-9))


def _quantile(confidence: FloatArray, share: float) -> float:
    """The value below which this share of the finite confidences lies; 0 without any."""
    known = confidence[np.isfinite(confidence)]
    return float(np.quantile(known, share)) if len(known) else 0.0


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
