"""Mean per-joint position error (MPJPE, MKPE) under the usual alignments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray

#: "absolute": as they are; "root": root keypoints coincide; "mean": means over the shared keypoints coincide (Pavlakos et
#: al. 2017); "procrustes": best similarity transform.
Alignment = Literal["absolute", "root", "mean", "procrustes"]


@dataclass(frozen=True)
class PositionError:
    """Errors in the unit of the poses; NaN where nothing could be compared.

    mean, median   over all keypoints that both poses have
    per_frame      (n,)
    per_keypoint   (K,)
    coverage       share of the true keypoints that were compared: a low error on few keypoints is no good news
    """

    mean: float
    median: float
    per_frame: FloatArray
    per_keypoint: FloatArray
    coverage: float


def position_error(predicted: FloatArray, truth: FloatArray, alignment: Alignment = "absolute", root: int = 0) -> PositionError:
    """Mean of ‖predicted − truth‖ over poses (n, K, D); keypoints missing (NaN) in either are left out and lower the coverage.

    A frame whose root is missing ("root"), or with fewer than three shared keypoints ("procrustes"), is left out.
    """
    if predicted.shape != truth.shape or truth.ndim != 3:
        raise BadInputError(f"position error: expected two arrays of shape (n, K, D), got {predicted.shape} and {truth.shape}")
    shared: BoolArray = np.asarray(np.isfinite(predicted).all(axis=-1) & np.isfinite(truth).all(axis=-1))
    error = np.linalg.norm(_aligned(predicted, truth, shared, alignment, root), axis=-1)
    compared = np.isfinite(error)
    true_keypoints = int(np.isfinite(truth).all(axis=-1).sum())
    values = error[compared]
    return PositionError(
        mean=float(values.mean()) if len(values) else float("nan"),
        median=float(np.median(values)) if len(values) else float("nan"),
        per_frame=_mean_where(error, compared, 1),
        per_keypoint=_mean_where(error, compared, 0),
        coverage=len(values) / true_keypoints if true_keypoints else float("nan"),
    )


def _aligned(predicted: FloatArray, truth: FloatArray, shared: BoolArray, alignment: Alignment, root: int) -> FloatArray:
    """(n, K, D) predicted − truth after alignment, NaN where it is undefined."""
    if alignment == "absolute":
        return predicted - truth
    if alignment == "root":
        return (predicted - predicted[:, root : root + 1]) - (truth - truth[:, root : root + 1])
    if alignment == "mean":
        return (predicted - _centre(predicted, shared)) - (truth - _centre(truth, shared))
    if alignment == "procrustes":
        return _procrustes(predicted, truth, shared)
    raise BadInputError(f"position error: expected an alignment among {', '.join(get_args(Alignment))}, got {alignment!r}")


def _centre(pose: FloatArray, shared: BoolArray) -> FloatArray:
    """(n, 1, D) mean over the shared keypoints."""
    count = shared.sum(axis=1)[:, None, None]
    total = np.where(shared[..., None], pose, 0.0).sum(axis=1, keepdims=True)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def _procrustes(predicted: FloatArray, truth: FloatArray, shared: BoolArray) -> FloatArray:
    """Residual (n, K, D) after the similarity transform that minimises the squared distance (Umeyama 1991)."""
    a = np.where(shared[..., None], predicted - _centre(predicted, shared), 0.0)
    b = np.where(shared[..., None], truth - _centre(truth, shared), 0.0)
    u, s, vt = np.linalg.svd(a.transpose(0, 2, 1) @ b)
    # A rotation, never a reflection: the weakest axis turns where the determinant is negative.
    sign = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    u[:, :, -1] *= sign[:, None]
    s[:, -1] *= sign
    size = (a**2).sum(axis=(1, 2))
    scale = np.divide(s.sum(axis=1), size, out=np.full(len(a), np.nan), where=size > 0)
    residual = scale[:, None, None] * (a @ u @ vt) - b
    usable = shared & (shared.sum(axis=1) >= 3)[:, None]
    return np.where(usable[..., None], residual, np.nan)


def _mean_where(values: FloatArray, mask: BoolArray, axis: int) -> FloatArray:
    count = mask.sum(axis=axis)
    total = np.where(mask, values, 0.0).sum(axis=axis)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))
