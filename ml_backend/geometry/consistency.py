"""What triangulation residuals say about a frame: multi-view consistency and whether the points can be trusted.

Multi-view consistency is eq. 4 of Feng et al., *Rethinking the Data Annotation Process for Multi-view 3D Pose Estimation with
Active Learning and Self-Training* (WACV 2023); the text there describes a distance, the formula has its square: ``power``.
Everywhere ``reprojection_px`` is (..., V, K), NaN = no term; ``...`` are frames.
"""

from __future__ import annotations

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray, Triangulation
from label_config.values.masked import masked_mean
from ml_backend.geometry.cameras import Rig

#: Self-training accepts nothing below these (a two-view residual is insensitive to errors along the epipolar line).
MIN_VIEWS = 3
MIN_ANGLE_DEG = 10.0


def multi_view_consistency(reprojection_px: FloatArray, power: int = 2) -> tuple[FloatArray, IntArray]:
    """Mean of ``residual**power`` over all views and keypoints with a term, outliers included.

    Returns the score (...) in px² (``power=2``, the formula) or px (``power=1``), NaN without a term, and the number of terms.
    """
    if power not in (1, 2):
        raise BadInputError(f"power: expected 1 (distance) or 2 (squared distance), got {power!r}")
    reprojection_px = _checked(reprojection_px)
    return masked_mean(reprojection_px if power == 1 else np.square(reprojection_px), axis=(-2, -1))


def _checked(reprojection_px: FloatArray) -> FloatArray:
    if reprojection_px.ndim < 2:
        raise BadInputError(f"residuals: expected shape (..., V, K), got {reprojection_px.shape}")
    return reprojection_px


def outlier_ratio(inlier: BoolArray, reprojection_px: FloatArray) -> FloatArray:
    """(...) one minus the mean over keypoints of the share of views that agree; NaN without a triangulated keypoint."""
    views = np.isfinite(_checked(reprojection_px)).sum(axis=-2)
    if inlier.shape != reprojection_px.shape:
        raise BadInputError(f"inlier: expected shape {reprojection_px.shape} like the residuals, got {inlier.shape}")
    share = np.where(views > 0, inlier.sum(axis=-2) / np.maximum(views, 1), np.nan)
    mean, _ = masked_mean(share[..., None, :], axis=(-2, -1))
    return np.asarray(1.0 - mean)


def weak_geometry(found: Triangulation, min_angle_deg: float = MIN_ANGLE_DEG) -> BoolArray:
    """(..., K) True where the residual proves little: fewer than three inliers, or rays closer than ``min_angle_deg``."""
    return np.asarray(~((found.inlier.sum(axis=-2) >= 3) & (found.angle_deg >= min_angle_deg)))


def trusted(found: Triangulation, min_views: int = MIN_VIEWS, min_angle_deg: float = MIN_ANGLE_DEG) -> BoolArray:
    """(..., K) True where *every* view with a point agrees, at least ``min_views`` of them, and the geometry is not weak."""
    present = np.isfinite(found.reprojection_px)
    unanimous = (found.inlier == present).all(axis=-2) & (present.sum(axis=-2) >= min_views)
    return np.asarray(found.consensus & unanimous & ~weak_geometry(found, min_angle_deg))


def agreed_place(rig: Rig, triangulated: Triangulation, min_views: int = MIN_VIEWS) -> FloatArray:
    """(n, V, K, 2) where each camera sees the keypoint on which at least ``min_views`` views agree; NaN without such a consensus.

    triangulated  batch axes (n,); distorted image pixels, NaN behind a camera
    """
    agreed = triangulated.consensus & (triangulated.inlier.sum(axis=-2) >= min_views)
    return np.where(agreed[:, None, :, None], rig.project(triangulated.xyz_world), np.nan)
