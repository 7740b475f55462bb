"""What triangulation residuals say about a frame: multi-view consistency and whether the points can be trusted.

Multi-view consistency is eq. 4 of Feng et al., *Rethinking the Data Annotation Process for Multi-view 3D Pose Estimation with
Active Learning and Self-Training* (WACV 2023); the text there speaks of a distance, the formula has its square: ``power``.
Everywhere ``reprojection_px`` is (..., V, K), NaN = no term; ``...`` are frames.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray, Triangulation
from label_config.values.masked import masked_mean
from ml_backend.geometry.cameras import Rig

#: Self-training accepts nothing below these (a two-view residual is blind to errors along the epipolar line).
MIN_VIEWS = 3
MIN_ANGLE_DEG = 10.0


class Worst(NamedTuple):
    """The largest residual of each frame.

    error_px  (...) NaN without a term;  view, keypoint  (...) where it is, -1 without a term
    """

    error_px: FloatArray
    view: IntArray
    keypoint: IntArray


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


def median_error_px(reprojection_px: FloatArray) -> FloatArray:
    """(...) median residual, NaN without a term."""
    flat = _flat(reprojection_px)
    ordered = np.sort(flat, axis=-1)  # NaN last
    count = np.isfinite(flat).sum(axis=-1)
    middle = np.stack((np.maximum(count - 1, 0) // 2, count // 2), axis=-1)
    middle = np.minimum(middle, flat.shape[-1] - 1)
    return np.where(count > 0, np.take_along_axis(ordered, middle, axis=-1).mean(axis=-1), np.nan)


def _flat(reprojection_px: FloatArray) -> FloatArray:
    """(..., V, K) → (..., V·K), infinities as NaN; one NaN where there is no view or no keypoint at all."""
    *batch, views, keypoints = _checked(reprojection_px).shape
    if not views * keypoints:
        return np.full((*batch, 1), np.nan)
    flat = reprojection_px.reshape(*batch, views * keypoints)
    return np.where(np.isfinite(flat), flat, np.nan)


def keypoint_rms_px(reprojection_px: FloatArray) -> FloatArray:
    """(..., K) root mean square over the views, for people; NaN without a term."""
    mean, _ = masked_mean(np.swapaxes(np.square(_checked(reprojection_px)), -1, -2)[..., None, :], axis=(-2, -1))
    return np.asarray(np.sqrt(mean))


def max_error(reprojection_px: FloatArray) -> Worst:
    """The largest residual of each frame and where it is; ties go to the first view, then the first keypoint."""
    flat = _flat(reprojection_px)
    known = np.isfinite(flat)
    place = np.asarray(np.where(known, flat, -1.0).argmax(axis=-1))
    error = np.take_along_axis(flat, place[..., None], axis=-1)[..., 0]
    some = known.any(axis=-1)
    view, keypoint = np.divmod(place, max(reprojection_px.shape[-1], 1))
    return Worst(np.where(some, error, np.nan), np.where(some, view, -1), np.where(some, keypoint, -1))


def weak_geometry(found: Triangulation, min_angle_deg: float = MIN_ANGLE_DEG) -> BoolArray:
    """(..., K) True where the residual proves little: fewer than three inliers, or rays closer than ``min_angle_deg``."""
    return np.asarray(~((found.inlier.sum(axis=-2) >= 3) & (found.angle_deg >= min_angle_deg)))


def trusted(found: Triangulation, min_views: int = MIN_VIEWS, min_angle_deg: float = MIN_ANGLE_DEG) -> BoolArray:
    """(..., K) True where *every* view with a point agrees, at least ``min_views`` of them, and the geometry is not weak."""
    present = np.isfinite(found.reprojection_px)
    unanimous = (found.inlier == present).all(axis=-2) & (present.sum(axis=-2) >= min_views)
    return np.asarray(found.consensus & unanimous & ~weak_geometry(found, min_angle_deg))


def all_inliers(found: Triangulation, min_views: int = MIN_VIEWS, min_angle_deg: float = MIN_ANGLE_DEG) -> BoolArray:
    """(...) True where every keypoint is :func:`trusted`: the frame may label itself (Feng et al., Algorithm 2)."""
    return np.asarray(trusted(found, min_views, min_angle_deg).all(axis=-1))


def agreed_place(rig: Rig, triangulated: Triangulation, min_views: int = MIN_VIEWS) -> FloatArray:
    """(n, V, K, 2) where each camera sees the joint on which at least ``min_views`` views agree; NaN without such a consensus.

    triangulated  batch axes (n,); distorted image pixels, NaN behind a camera
    """
    agreed = triangulated.consensus & (triangulated.inlier.sum(axis=-2) >= min_views)
    return np.where(agreed[:, None, :, None], rig.project(triangulated.xyz_world), np.nan)
