"""Does the confidence of a network mean anything?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Reliability:
    """Confidence against the share of correct keypoints, in bins of equal width over [0, 1].

    ece         expected calibration error: mean over keypoints of |confidence − share correct| of their bin; NaN without any
    confidence  (bins,) mean confidence, NaN for an empty bin
    correct     (bins,) share of correct keypoints, NaN for an empty bin
    count       (bins,)
    """

    ece: float
    confidence: FloatArray
    correct: FloatArray
    count: IntArray


def reliability(confidence: FloatArray, correct: BoolArray, bins: int = 10) -> Reliability:
    """Reliability of confidences against correctness (e.g. by PCK), any equal shapes; NaN confidences are left out."""
    if confidence.shape != correct.shape:
        raise BadInputError(f"reliability: expected two arrays of one shape, got {confidence.shape} and {correct.shape}")
    known = np.isfinite(confidence)
    value, right = confidence[known], correct[known].astype(np.float64)
    if len(value) and (value.min() < 0 or value.max() > 1):
        raise BadInputError(f"reliability: confidence must be in [0, 1], got {value.min()} … {value.max()}")
    bin_of = np.minimum((value * bins).astype(np.int64), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    empty = np.full(bins, np.nan)
    mean_confidence = np.divide(np.bincount(bin_of, value, bins), count, out=empty.copy(), where=count > 0)
    share = np.divide(np.bincount(bin_of, right, bins), count, out=empty, where=count > 0)
    gap = np.nan_to_num(np.abs(mean_confidence - share))
    ece = float((gap * count).sum() / count.sum()) if count.sum() else float("nan")
    return Reliability(ece, np.asarray(mean_confidence), np.asarray(share), count.astype(np.int64))
