"""Percentage of correct keypoints and of correct parts.

A labelled keypoint without a prediction (NaN) is wrong, an unlabelled one (NaN truth) does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from label_config.values import BadInputError, FloatArray, IntArray
from label_config.values.masked import mean_of


@dataclass(frozen=True)
class Pck:
    """Share of correct keypoints: over all that count, and per keypoint (K,); NaN where none counts."""

    overall: float
    per_keypoint: FloatArray
    count: int


def pck(predicted: FloatArray, truth: FloatArray, reference: FloatArray, alpha: float) -> Pck:
    """Correct = distance ≤ alpha · reference.

    predicted, truth (n, K, D) in the unit of ``reference`` (n,) or scalar; a reference that is not positive takes its
    frame out.
    """
    ratio, counts = _relative_distance(predicted, truth, reference)
    return _shares((ratio <= alpha).astype(np.float64), counts)


def _relative_distance(predicted: FloatArray, truth: FloatArray, reference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n, K) distance / reference (inf for a missing prediction), and 1 where the keypoint counts."""
    if predicted.shape != truth.shape or truth.ndim != 3:
        raise BadInputError(f"PCK: expected two arrays of shape (n, K, D), got {predicted.shape} and {truth.shape}")
    scale = np.broadcast_to(np.asarray(reference, dtype=np.float64), truth.shape[:1])[:, None]
    counts = np.isfinite(truth).all(axis=-1) & (scale > 0)
    distance = np.linalg.norm(predicted - truth, axis=-1)
    ratio = np.full(counts.shape, np.inf)
    np.divide(distance, scale, out=ratio, where=counts & np.isfinite(distance))
    return ratio, counts.astype(np.float64)


def _shares(value: FloatArray, counts: FloatArray) -> Pck:
    total = counts.sum(axis=0)
    gained = (value * counts).sum(axis=0)
    per_keypoint = np.divide(gained, total, out=np.full(len(total), np.nan), where=total > 0)
    overall = float(gained.sum() / total.sum()) if total.sum() else float("nan")
    return Pck(overall, np.asarray(per_keypoint), int(total.sum()))


@dataclass(frozen=True)
class Pcp:
    """Share of correct parts: per limb (L,), per named part (left and right together), and the mean over parts."""

    per_limb: FloatArray
    per_part: dict[str, float]
    mean: float


def pcp(
    predicted: FloatArray,
    truth: FloatArray,
    limbs: Sequence[tuple[int, int]],
    *,
    strict: bool,
    parts: Mapping[str, Sequence[int]] | None = None,
    alpha: float = 0.5,
) -> Pcp:
    """Percentage of correct parts in 2-D or 3-D, poses (n, K, D).

    strict: both ends within alpha · length; else (loose, KTH): the mean of both errors within it.  ``parts`` names
    groups of limbs by position, e.g. ``{"upper arm": (0, 4)}``; without it every limb is its own part.
    """
    if predicted.shape != truth.shape or truth.ndim != 3:
        raise BadInputError(f"PCP: expected two arrays of shape (n, K, D), got {predicted.shape} and {truth.shape}")
    ends: IntArray = np.array(limbs, dtype=np.int64).reshape(-1, 2)
    error = np.linalg.norm(predicted - truth, axis=-1)[:, ends]
    error = np.where(np.isnan(error), np.inf, error)
    length = np.linalg.norm(truth[:, ends[:, 0]] - truth[:, ends[:, 1]], axis=-1)
    worst = error.max(axis=-1) if strict else error.mean(axis=-1)
    counts = np.isfinite(length)
    good = ((worst <= alpha * length) & counts).sum(axis=0)
    total = counts.sum(axis=0)
    per_limb = np.divide(good, total, out=np.full(len(total), np.nan), where=total > 0)
    groups = {str(i): (i,) for i in range(len(ends))} if parts is None else parts
    per_part = {name: mean_of(per_limb[list(members)]) for name, members in groups.items()}
    return Pcp(np.asarray(per_limb), per_part, mean_of(np.array(list(per_part.values()))))
