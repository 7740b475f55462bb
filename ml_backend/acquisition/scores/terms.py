"""From single terms to a frame's score: masked means, and what to say when nothing can be said."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.skeleton import Skeleton
from label_config.values import BoolArray, FloatArray, IntArray
from ml_backend.acquisition.base import Chunk, Labelled, Scores, State
from ml_backend.geometry.cameras import Rig


class NothingToLearn:
    """Mixin for scores that need no labels."""

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """Nothing to learn."""
        return None


def masked_mean(values: npt.NDArray[Any], axis: int | tuple[int, ...]) -> tuple[FloatArray, IntArray]:
    """Mean over the finite entries (NaN where there is none) and their number."""
    finite = np.isfinite(values)
    count = np.asarray(finite.sum(axis=axis), dtype=np.int64)
    total = np.where(finite, values, 0.0).sum(axis=axis, dtype=np.float64)
    return divide(total, count), count


def masked_median(values: FloatArray) -> FloatArray:
    """Median over the finite entries of the last axis, NaN where there is none."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    ordered = np.sort(np.where(np.isfinite(values), values, np.inf), axis=-1)
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[-1] - 1), axis=-1)
    result: FloatArray = np.where(count > 0, (low + high) / 2, np.nan)[..., 0]
    return result


def divide(total: npt.NDArray[Any], count: npt.NDArray[Any]) -> FloatArray:
    """``total / count``, NaN where ``count`` is not positive."""
    total, count = np.broadcast_arrays(np.asarray(total, dtype=np.float64), count)
    result: FloatArray = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return result


def mean_of_views(per_point: FloatArray, *, sum_joints: bool = False) -> Scores:
    """Mean over keypoints, then over the views that have one (Feng et al. 2023, eq. 1–2).

    per_point   (c, V, K), NaN = no term
    sum_joints  sum over keypoints instead of their mean, as the single-view papers print it
    """
    mean, count = masked_mean(per_point, axis=2)
    per_view = mean * count if sum_joints else mean
    raw, _ = masked_mean(per_view, axis=1)
    return Scores(raw, count.sum(axis=1), per_point)


def mean_of_terms(per_point: FloatArray) -> Scores:
    """Mean over all terms of a frame at once (Feng et al. 2023, eq. 4).  ``per_point`` (c, V, K), NaN = no term."""
    raw, support = masked_mean(per_point, axis=(1, 2))
    return Scores(raw, support, per_point)


def mean_of_joints(per_joint: FloatArray, n_views: int) -> Scores:
    """Mean over keypoints of something that no single view owns; every view shows the same value.

    per_joint  (c, K), NaN = no term
    """
    raw, support = masked_mean(per_joint, axis=1)
    shape = (per_joint.shape[0], n_views, per_joint.shape[1])
    return Scores(raw, support, np.broadcast_to(per_joint[:, None, :], shape))


def nothing(chunk: Chunk) -> Scores:
    """What a score says when its input or its state is missing."""
    count = len(chunk.index[chunk.core])
    return Scores(np.full(count, np.nan), np.zeros(count, dtype=np.int64))


def predicted(chunk: Chunk) -> BoolArray:
    """(c, V, K) True where the network said something: a point, or at least a confidence (a blank heatmap)."""
    spoke: BoolArray = chunk.valid | np.isfinite(chunk.confidence)
    return spoke[chunk.core]
