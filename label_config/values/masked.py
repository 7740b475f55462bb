"""Means and medians over what is known: NaN and infinite entries are left out, and NaN stands where nothing is left."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import FloatArray, IntArray


def masked_mean(values: npt.NDArray[Any], axis: int | tuple[int, ...]) -> tuple[FloatArray, IntArray]:
    """Mean over the finite entries along ``axis`` and their number."""
    finite = np.isfinite(values)
    count = np.asarray(finite.sum(axis=axis), dtype=np.int64)
    total = np.where(finite, values, 0.0).sum(axis=axis, dtype=np.float64)
    return divide(total, count), count


def masked_median(values: FloatArray) -> FloatArray:
    """Median over the finite entries of the last axis."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    ordered = np.sort(np.where(np.isfinite(values), values, np.inf), axis=-1)
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[-1] - 1), axis=-1)
    result: FloatArray = np.where(count > 0, (low + high) / 2, np.nan)[..., 0]
    return result


def mean_of(values: npt.NDArray[Any]) -> float:
    """Mean over all finite entries."""
    return float(masked_mean(values.ravel(), axis=0)[0])


def median_of(values: FloatArray) -> float:
    """Median over all finite entries."""
    return float(masked_median(values.ravel()))


def divide(total: npt.NDArray[Any], count: npt.NDArray[Any]) -> FloatArray:
    """``total / count``, NaN where ``count`` is not positive."""
    total, count = np.broadcast_arrays(np.asarray(total, dtype=np.float64), count)
    result: FloatArray = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return result
