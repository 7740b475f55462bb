"""When views agree: one definition for scores, pseudo-labels, validation, completion and harvest."""

from __future__ import annotations

import numpy as np

from label_config.values import BadInputError, FloatArray
from ml_backend.geometry.cameras import Rig

#: Views agree within this share of the subject's size in the picture …
SHARE = 0.02
#: … of a small subject at least within this, on pictures so small that this is more than the share of *their* size within that.
FLOOR_PX = 10.0


def agreement_px(rig: Rig, xy_px: FloatArray, given_px: float | None = None) -> FloatArray:
    """(..., V, K, 2) points → (..., V) largest distance in pixels at which a view agrees with the place of a point.

    given_px  what the user set (``pseudo_labels.threshold_px``): then that, everywhere

    Otherwise 2 % of the diagonal of the subject's box, at least 10 px, or 2 % of the picture's longer side where that is less:
    on small pictures 10 px would let every wrong point pass (docs/experiments.md).  The box is that of the points without the
    outermost tenth on each side, so that one wild point does not enlarge it.
    """
    xy_px = np.asarray(xy_px, dtype=np.float64)
    if xy_px.ndim < 3 or xy_px.shape[-1] != 2 or xy_px.shape[-3] != len(rig):
        raise BadInputError(f"agreement: expected points of shape (..., V, K, 2) with V = {len(rig)}, got {xy_px.shape}")
    if given_px is not None:
        return np.full(xy_px.shape[:-2], given_px)
    floor = np.broadcast_to(np.minimum(FLOOR_PX, SHARE * rig.size_px.max(axis=1)), xy_px.shape[:-2])
    return np.asarray(np.maximum(floor, SHARE * diagonal_px(xy_px)))


def diagonal_px(xy_px: FloatArray) -> FloatArray:
    """(..., K, 2) → (...) diagonal of the box of all but the outermost points; 0 without points."""
    if not xy_px.shape[-2]:
        return np.zeros(xy_px.shape[:-2])
    along = np.moveaxis(xy_px, -1, -2)
    present = np.asarray(np.isfinite(along).all(axis=-2))
    ordered = np.sort(np.where(present[..., None, :], along, np.inf), axis=-1)
    last = np.maximum(present.sum(axis=-1) - 1, 0)
    low = last // 10
    ends = np.take_along_axis(ordered, np.stack((low, last - low), axis=-1)[..., None, :], axis=-1)
    extent = np.diff(np.where((last > 0)[..., None, None], ends, 0.0), axis=-1)[..., 0]
    return np.asarray(np.hypot(extent[..., 0], extent[..., 1]))
