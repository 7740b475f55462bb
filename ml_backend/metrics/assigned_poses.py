"""Predicted poses beside the labelled ones that they lie on."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from label_config.values import FloatArray, IntArray
from label_config.values.masked import masked_mean


def assigned_poses(truth: FloatArray, predicted: FloatArray) -> IntArray:
    """(s, K, d) both → (s,) which prediction belongs to each label; those that share no keypoint are far apart."""
    apart, _ = masked_mean(np.linalg.norm(truth[:, None] - predicted[None], axis=-1), axis=2)
    known = np.isfinite(apart)
    far = (apart[known].max() if known.any() else 0.0) * len(apart) + 1.0
    # Of equal ones the own prediction is taken: a hundredth of a millionth of the distance settles it.
    cost = np.where(known, apart, far) + 1e-8 * far * ~np.eye(len(apart), dtype=np.bool_)
    return np.asarray(linear_sum_assignment(cost)[1], dtype=np.int64)
