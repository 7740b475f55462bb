"""Scores of the subjects of a frame become one score of the frame."""

from __future__ import annotations

from typing import Literal

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.masked import masked_mean

Combine = Literal["mean", "max", "sum"]


def combined(values: FloatArray, combine: Combine) -> FloatArray:
    """(n, S) a score of each subject → (n,) of the frame; NaN = no such subject, or nothing known of it.

    With one subject all three are its own score.
    """
    mean, count = masked_mean(values, axis=1)
    if combine == "mean":
        return mean
    if combine == "sum":
        return np.where(count == 1, mean, mean * count)
    return np.where(count > 0, np.where(np.isfinite(values), values, -np.inf).max(axis=1, initial=-np.inf), np.nan)


def strongest(values: FloatArray) -> IntArray:
    """(n, S) → (n,) the subject with the highest score, the first of equal ones; -1 where nothing is known of any."""
    known = np.isfinite(values)
    best = np.where(known, values, -np.inf).argmax(axis=1)
    return np.asarray(np.where(known.any(axis=1), best, -1), dtype=np.int64)
