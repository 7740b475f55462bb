"""Points in world coordinates from points in views: linear, and robust with every residual reported.

Images are undistorted first.  The solution minimises the reprojection error there, every observation scaled by its lens's mean
magnification at that place; residuals and inliers that callers see are exact distances in distorted pixels.
Under noise the two minima differ by far less than the noise itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import BadInputError, BoolArray, FloatArray, Triangulation
from ml_backend.geometry import consensus
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.normalised import NormalisedRig
from ml_backend.geometry.refinement import Tile, settle
from ml_backend.geometry.view_agreement import agreement_px

#: Observations (views × points) that are worked on at a time, so that intermediate arrays stay in the cache.
TILE_OBSERVATIONS = 49152
#: More bytes than the arrays of a tile take, see _keep_freed_memory.
_LARGEST_BLOCK = 16 << 20


@lru_cache(maxsize=8)
def _prepared(rig: Rig) -> tuple[NormalisedRig, list[consensus.PairStep]]:
    _keep_freed_memory()
    normalised = NormalisedRig(rig)
    return normalised, consensus.plan(normalised)


def _keep_freed_memory() -> None:
    """Let the arrays of one tile lie where those of the last one lay.

    glibc gives freed memory back to the system when it is more than twice the largest block freed before (mallopt(3)), and a
    page fault for every 4 KiB that is fetched again costs more than the work on it.  This block, never touched, is that largest.
    """
    np.empty(_LARGEST_BLOCK, dtype=np.uint8)


def triangulate_linear(rig: Rig, xy_px: FloatArray, weight: FloatArray | None = None) -> FloatArray:
    """All-view direct linear transform (Hartley & Zisserman §12.2, inhomogeneous, preconditioned).

    xy_px   (..., V, K, 2) distorted pixels, NaN = no point
    weight  (..., V, K) factor on the squared error of each observation, None = 1; 0 leaves it out
    Returns (..., K, 3) world; NaN where fewer than two views remain or their rays coincide.
    Raises BadInputError for shapes that do not fit the rig and for weights that are negative or not finite.
    """
    xy_px = rig.check_points(xy_px)
    if weight is not None and (weight.shape != xy_px.shape[:-1] or not np.all(np.isfinite(weight) & (weight >= 0))):
        raise BadInputError(f"weight: expected finite, non-negative values of shape {xy_px.shape[:-1]}, got {weight.shape}")
    batch, views, keypoints = xy_px.shape[:-3], len(rig), xy_px.shape[-2]
    points = xy_px.reshape(prod(batch), views, keypoints, 2)
    weights: FloatArray | None = None if weight is None else weight.reshape(points.shape[:-1])
    normalised, _ = _prepared(rig)
    xyz = np.empty((len(points), keypoints, 3))
    for f, k in _tiles(len(points), keypoints, views):
        uv, scale = normalised.observe(_view_first(points[f, :, k]))
        scale *= scale
        if weights is not None:
            scale *= _view_first(weights[f, :, k])
        x = normalised.solve_linear(scale, uv)
        xyz[f, k] = normalised.to_world(x).reshape(xyz[f, k].shape)
    return xyz.reshape(*batch, keypoints, 3)


def triangulate_robust(
    rig: Rig,
    xy_px: FloatArray,
    *,
    valid: BoolArray | None = None,
    threshold_px: float | FloatArray | None = None,
) -> Triangulation:
    """Largest consensus of views per point, refined to least reprojection error.

    xy_px         (..., V, K, 2) distorted pixels, NaN = no point
    valid         (..., V, K) False leaves an observation out as if it were NaN; None = all
    threshold_px  an agreeing view reprojects closer than this: one number, or (..., V) per frame and view;
                  None = :func:`ml_backend.geometry.view_agreement.agreement_px`

    Deterministic.  The consensus (:mod:`ml_backend.geometry.consensus`) is refined by Gauss–Newton, its members are determined
    anew and, where they changed, it is refined again (:mod:`ml_backend.geometry.refinement`).  ``inlier`` means: the exact
    residual is below the threshold and the point is in front of that camera.  Where no two views agree, the point is the
    all-view linear solution, ``inlier`` is False everywhere, ``consensus`` is False and angle and covariance are those of
    all views with a point.  Exactly two inliers are *weak*: their residual has one degree of freedom only, an error along
    the epipolar line is invisible.

    Raises BadInputError for shapes that do not fit the rig and for thresholds that are not positive.
    """
    xy_px = rig.check_points(xy_px)
    batch, views, keypoints = xy_px.shape[:-3], len(rig), xy_px.shape[-2]
    if valid is not None:
        if valid.shape != xy_px.shape[:-1]:
            raise BadInputError(f"valid: expected shape {xy_px.shape[:-1]}, got {valid.shape}")
        xy_px = np.where(valid[..., None], xy_px, np.nan)
    points = xy_px.reshape(prod(batch), views, keypoints, 2)
    threshold = _threshold(rig, points, threshold_px, batch)

    n = len(points)
    out = Triangulation(
        xyz_world=np.empty((n, keypoints, 3)),
        inlier=np.empty((n, views, keypoints), dtype=np.bool_),
        reprojection_px=np.empty((n, views, keypoints)),
        covariance=np.empty((n, keypoints, 3, 3)),
        angle_deg=np.empty((n, keypoints)),
        consensus=np.empty((n, keypoints), dtype=np.bool_),
    )
    normalised, steps = _prepared(rig)
    for f, k in _tiles(n, keypoints, views):
        _solve_tile(normalised, steps, points[f, :, k], threshold[f], (f, k), out)
    return Triangulation(
        xyz_world=out.xyz_world.reshape(*batch, keypoints, 3),
        inlier=out.inlier.reshape(*batch, views, keypoints),
        reprojection_px=out.reprojection_px.reshape(*batch, views, keypoints),
        covariance=out.covariance.reshape(*batch, keypoints, 3, 3),
        angle_deg=out.angle_deg.reshape(*batch, keypoints),
        consensus=out.consensus.reshape(*batch, keypoints),
    )


def _threshold(rig: Rig, points: FloatArray, threshold_px: float | FloatArray | None, batch: tuple[int, ...]) -> FloatArray:
    """(n, V) threshold of every frame and view."""
    n, views = points.shape[:2]
    if threshold_px is None:
        return agreement_px(rig, points)
    given = np.asarray(threshold_px, dtype=np.float64)
    if given.shape not in ((), (*batch, views)) or not np.all(np.isfinite(given) & (given > 0)):
        raise BadInputError(f"threshold_px: expected one positive number or shape {(*batch, views)}, got {threshold_px!r}")
    return np.broadcast_to(given.reshape(-1, views) if given.ndim else given, (n, views))


def _tiles(frames: int, keypoints: int, views: int) -> Iterator[tuple[slice, slice]]:
    """Slices of frames and keypoints that together hold about TILE_OBSERVATIONS observations."""
    columns = max(64, TILE_OBSERVATIONS // views)
    frame_step, keypoint_step = max(1, columns // max(1, keypoints)), columns
    for f in range(0, frames, frame_step):
        for k in range(0, keypoints, keypoint_step):
            yield slice(f, min(f + frame_step, frames)), slice(k, min(k + keypoint_step, keypoints))


def _view_first(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(f, V, k) → contiguous (V, f·k);  (f, V, k, 2) → (2, V, f·k)."""
    axes = (3, 1, 0, 2) if array.ndim == 4 else (1, 0, 2)
    first = np.ascontiguousarray(array.transpose(axes))
    return first.reshape(*first.shape[:-2], -1)


def _solve_tile(
    rig: NormalisedRig,
    steps: list[consensus.PairStep],
    xy_px: FloatArray,
    threshold: FloatArray,
    place: tuple[slice, slice],
    out: Triangulation,
) -> None:
    frames, views, keypoints, _ = xy_px.shape
    tile = Tile.observed(rig, _view_first(xy_px), np.repeat(threshold.T, keypoints, axis=1))
    linear = rig.solve_linear(tile.weight, tile.uv)
    hypothesis, agree = consensus.search(rig, steps, tile.seen, linear)
    found = settle(rig, tile, hypothesis, agree, fallback=linear)
    f, k = place

    def frame_first(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array.reshape(views, frames, keypoints).transpose(1, 0, 2)

    out.xyz_world[f, k] = rig.to_world(found.x).reshape(frames, keypoints, 3)
    out.inlier[f, :, k] = frame_first(found.inlier)
    out.reprojection_px[f, :, k] = frame_first(found.residual_px)
    covariance = found.inverse * rig.unit**2
    out.covariance[f, k] = covariance[[0, 1, 2, 1, 3, 4, 2, 4, 5]].T.reshape(frames, keypoints, 3, 3)
    out.angle_deg[f, k] = rig.largest_angle_deg(found.x, found.used).reshape(frames, keypoints)
    out.consensus[f, k] = found.agreed.reshape(frames, keypoints)
