"""Is the calibration right?  Errors by camera, the camera that is wrong, cameras that started late.

All functions take points of one sequence, ``xy_px (n, V, K, 2)`` distorted pixels, NaN = no point.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from label_config.values import BadInputError, FloatArray, IntArray
from label_config.values.masked import median_of
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.epipolar import fundamental_from_rig, pair_distance
from ml_backend.geometry.triangulation import triangulate_linear, triangulate_robust

#: A camera is named only if leaving it out lowers the error to less than this share, and clearly more than any other does.
SUSPECT_SHARE = 0.5
SUSPECT_MARGIN = 0.7
#: A frame offset is reported only if it lowers the error to less than this share of the error without one.
OFFSET_SHARE = 0.6


class Suspect(NamedTuple):
    """error_px: median all-view error;  without_px (V,): the same without each camera;  camera: the wrong one or None."""

    error_px: float
    without_px: FloatArray
    camera: str | None


class FrameOffsets(NamedTuple):
    """Shift of each view's frames that fits the others best.

    offset    (V,) add this to a frame number of the others to find the same instant in this view; 0 unless clearly better
    best      (V,) where the error is least, clearly or not
    error_px  (V, 2·max_offset + 1) median epipolar distance for every shift from -max_offset
    """

    offset: IntArray
    best: IntArray
    error_px: FloatArray


def camera_errors(rig: Rig, xy_px: FloatArray, threshold_px: float | None = None) -> FloatArray:
    """Return (V,) the median residual in px of each camera, outliers included; NaN without common points."""
    found = triangulate_robust(rig, xy_px, threshold_px=threshold_px)
    residual = np.swapaxes(found.reprojection_px, -1, -2).reshape(-1, len(rig))
    return np.array([median_of(column) for column in residual.T])


def suspect_camera(rig: Rig, xy_px: FloatArray) -> Suspect:
    """Leave one camera out at a time and see whether the rest agree; needs three cameras (two cannot tell which is wrong).

    Errors are medians of the all-view (not robust) solution, corrected for the degrees of freedom that the fit consumes, so
    that fewer cameras do not look better only because there is less to contradict.
    """
    if len(rig) < 3:
        raise BadInputError(f"suspect camera: expected at least three cameras, got {len(rig)}; of two either may be wrong")
    names = rig.names
    error = all_view_error(rig, xy_px)
    without = np.array(
        [
            all_view_error(rig.subset([name for name in names if name != left_out]), np.delete(xy_px, v, axis=1))
            for v, left_out in enumerate(names)
        ]
    )
    if not np.isfinite(without).all():
        return Suspect(error, without, None)
    first, second = np.argsort(without, kind="stable")[:2]
    clear = without[first] < SUSPECT_SHARE * error and without[first] < SUSPECT_MARGIN * without[second]
    return Suspect(error, without, names[first] if clear else None)


def all_view_error(rig: Rig, xy_px: FloatArray) -> float:
    """Median residual in px of the all-view (not robust) solution, corrected for the freedom of the fit; NaN without any.

    A point that its camera cannot have seen where the others do counts with the diagonal of the picture.
    """
    xyz_world = triangulate_linear(rig, xy_px)
    residual = np.linalg.norm(rig.project(xyz_world) - xy_px, axis=-1)
    known = np.asarray(np.isfinite(xyz_world).all(axis=-1))[..., None, :]
    nowhere = np.isfinite(xy_px).all(axis=-1) & known & np.isnan(residual)
    residual = np.where(nowhere, np.linalg.norm(rig.size_px, axis=1)[:, None], residual)
    equations = 2 * np.isfinite(residual).sum(axis=-2, keepdims=True)
    return median_of(residual * np.sqrt(equations / np.maximum(equations - 3, 1)))


def frame_offsets(rig: Rig, xy_px: FloatArray, max_offset: int = 10) -> FrameOffsets:
    """Scan constant frame shifts of every view against all others by epipolar distance.

    xy_px holds consecutive frames.  A view's error at a shift is the median over partners of the median distance,
    so that one other late view does not matter.  A subject that hardly moves gives no clear answer: offset 0.
    """
    matrices = fundamental_from_rig(rig)
    points = rig.undistort(xy_px)
    frames = len(points)
    if not 0 <= max_offset < frames:
        raise BadInputError(f"max_offset: expected 0..{frames - 1} for {frames} frames, got {max_offset}")
    shifts = list(range(-max_offset, max_offset + 1))
    error = np.full((len(rig), len(shifts)), np.nan)
    for column, shift in enumerate(shifts):
        early, late = max(0, -shift), max(0, shift)
        base, moved = points[early : frames - late], points[late : frames - early]
        for v in range(len(rig)):
            order = [v, *(w for w in range(len(rig)) if w != v)]
            mixed = base[:, order].copy()
            mixed[:, 0] = moved[:, v]
            distance = pair_distance(matrices[np.ix_(order, order)], mixed)
            error[v, column] = median_of(np.array([median_of(distance[:, 0, i]) for i in range(1, len(order))]))
    known = np.where(np.isfinite(error), error, np.inf)
    best = known.argmin(axis=1) - max_offset
    clear = known.min(axis=1) < OFFSET_SHARE * known[:, max_offset]
    return FrameOffsets(np.where(clear, best, 0), best, error)
