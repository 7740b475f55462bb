"""Where the other cameras see a point, how surely, and which camera contradicts them more than labels usually scatter.

What counts is the distance of a label from where *the others* see it: in the common solution a wrong label pulls its own
expectation along, by a quarter of the way in a rig of six.  The test is that of studentised deleted residuals
(R. D. Cook and S. Weisberg, *Residuals and Influence in Regression*, 1982, section 2.2), with the scatter of the
project's own labels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from label_config.values import BoolArray, FloatArray, IntArray
from label_config.values.masked import median_of
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.geometry.view_agreement import agreement_px

#: A label contradicts the others when it lies this many standard deviations off: in careful labels one of 450 does.
LIMIT_SIGMA = 3.5
#: The first consensus takes everything up to so many times the usual agreement; what scatter allows is not known yet.
FIRST_CONSENSUS = 3.0
#: So many frames of a keypoint before its own place in each camera, and its own scatter, are estimated.
ENOUGH_FRAMES = 20


class Deleted(NamedTuple):
    """What the other cameras say about every label (m, V, K, ...).

    expected_px  (m, V, K, 2) where they see the point, the usual offset of this keypoint in this camera included; NaN = unknown
    distance_px  (m, V, K) from there to the label
    sigma        (m, V, K) the same in standard deviations
    spread       (m, V, K, 2, 2) inverse covariance behind ``sigma``
    accused      (m, V, K) the label contradicts the others
    consensus    (m, K) at least two cameras agree on a place
    witnesses    (m, K) cameras that do
    limit_px     (m, V) distance up to which nothing is said
    """

    expected_px: FloatArray
    distance_px: FloatArray
    sigma: FloatArray
    spread: FloatArray
    accused: BoolArray
    consensus: BoolArray
    witnesses: IntArray
    limit_px: FloatArray


def deleted_residuals(rig: Rig, xy_px: FloatArray, threshold_px: float | None = None) -> Deleted:
    """Compare labels (m, V, K, 2), NaN = not labelled, with what the other cameras say.

    threshold_px  distance up to which a label agrees; None = :func:`ml_backend.geometry.view_agreement.agreement_px`
    """
    limit = agreement_px(rig, xy_px, threshold_px)
    solved = triangulate_robust(rig, xy_px, threshold_px=FIRST_CONSENSUS * limit)
    placed = np.asarray(np.isfinite(xy_px).all(axis=-1))
    slope = _slopes(rig, solved.xyz_world)
    usable = placed & np.isfinite(slope).all(axis=(-1, -2))
    active = usable & solved.inlier
    residual = np.where(usable[..., None], xy_px - rig.project(solved.xyz_world), 0.0)
    offset = _usual_offset(residual, active)
    residual = residual - offset
    sigma_px = _scatter(residual, active, slope)
    for _ in range(len(rig)):
        distance, spread = _distances(residual, slope, active, sigma_px)
        squared = _squared(distance, spread)
        worst = np.where(active & (active.sum(axis=1, keepdims=True) > 2), squared, -np.inf).argmax(axis=1)
        at = worst[:, None, :]
        off = np.take_along_axis(np.linalg.norm(distance, axis=-1), at, axis=1)[:, 0]
        far = np.take_along_axis(limit[:, :, None], at, axis=1)[:, 0]
        removed = (np.take_along_axis(squared, at, axis=1)[:, 0] > LIMIT_SIGMA**2) & (off > far) & (active.sum(axis=1) > 2)
        if not removed.any():
            break
        active = active & ~((np.arange(len(rig))[None, :, None] == at) & removed[:, None])
    # Once more from where those that are left see it: a step from a place that a wrong label had pulled away is not exact.
    settled = triangulate_robust(rig, xy_px - offset, valid=active, threshold_px=FIRST_CONSENSUS * limit)
    slope = _slopes(rig, settled.xyz_world)
    usable = placed & np.isfinite(slope).all(axis=(-1, -2))
    residual = np.where(usable[..., None], xy_px - offset - rig.project(settled.xyz_world), 0.0)
    distance, spread = _distances(residual, slope, active & usable, sigma_px)
    squared = np.where(usable, _squared(distance, spread), np.nan)
    away = np.where(usable, np.linalg.norm(distance, axis=-1), np.nan)
    consensus = np.asarray(active.sum(axis=1) >= 2)
    accused = usable & ~active & consensus[:, None] & (squared > LIMIT_SIGMA**2) & (away > limit[..., None])
    return Deleted(
        expected_px=np.where(usable[..., None], xy_px - distance, np.nan),
        distance_px=away,
        sigma=np.sqrt(squared),
        spread=spread,
        accused=np.asarray(accused),
        consensus=consensus,
        witnesses=active.sum(axis=1),
        limit_px=limit,
    )


def _slopes(rig: Rig, xyz_world: FloatArray) -> FloatArray:
    """(m, K, 3) → (m, V, K, 2, 3) change of each picture's point with the place, by central differences."""
    centres = np.stack([camera.centre for camera in rig.cameras])
    step = 1e-5 * float(np.median(np.linalg.norm(centres - centres.mean(axis=0), axis=-1)))
    moves = step * np.eye(3)
    return np.stack([(rig.project(xyz_world + move) - rig.project(xyz_world - move)) / (2 * step) for move in moves], axis=-1)


def _usual_offset(residual: FloatArray, active: BoolArray) -> FloatArray:
    """(1, V, K, 2) where this keypoint is usually clicked in this camera, off where the cameras together see it.

    People agree on "the elbow" within some pixels and not better, each camera's view of it with an offset of its own.  It is no
    mistake of one label.  0 for keypoints with too few frames.
    """
    known = np.where(active[..., None], residual, np.nan)
    count = active.sum(axis=0)
    offset = np.zeros((1, *residual.shape[1:]))
    for v, k in np.argwhere(count >= ENOUGH_FRAMES):
        offset[0, v, k] = np.nanmedian(known[:, v, k], axis=0)
    return offset


def _scatter(residual: FloatArray, active: BoolArray, slope: FloatArray) -> FloatArray:
    """(K,) standard deviation of a coordinate in pixels, of each keypoint where it has frames enough, else of all together.

    A residual of the common solution is smaller than the label's error by the three coordinates that were fitted.
    """
    equations = 2.0 * active.sum(axis=1, keepdims=True)
    inflated = residual * np.sqrt(equations / np.maximum(equations - 3.0, 1.0))[..., None]
    known = np.where((active & (equations >= 6))[..., None], np.abs(inflated), np.nan)
    to_sigma = 1.4826
    pooled = to_sigma * median_of(known)
    pooled = pooled if np.isfinite(pooled) else 0.0
    counts = (np.isfinite(known).any(axis=(1, 3))).sum(axis=0)
    own = [to_sigma * median_of(known[:, :, k]) if counts[k] >= ENOUGH_FRAMES else pooled for k in range(len(counts))]
    return np.asarray(np.maximum(np.array(own), 1e-3))


def _distances(residual: FloatArray, slope: FloatArray, active: BoolArray, sigma_px: FloatArray) -> tuple[FloatArray, FloatArray]:
    """((m, V, K, 2) label − place by the others, (m, V, K, 2, 2) inverse covariance); both 0 where fewer than two others see it.

    One step of Gauss–Newton from the common solution: A = Σ JᵀJ over the others, Δ = A⁻¹ Σ Jᵀr, d = r − J Δ, and the covariance
    of d is σ² (I + J A⁻¹ Jᵀ).
    """
    J = np.where(np.isfinite(slope), slope, 0.0)
    gram = np.where(active[..., None, None], np.swapaxes(J, -1, -2) @ J, 0.0)
    pull = np.where(active[..., None], (np.swapaxes(J, -1, -2) @ residual[..., None])[..., 0], 0.0)
    A = gram.sum(axis=1, keepdims=True) - gram
    others = active.sum(axis=1, keepdims=True) - active
    determined = others >= 2
    scale = np.trace(A, axis1=-2, axis2=-1)[..., None, None] / 3
    A = np.where(determined[..., None, None], A + 1e-12 * scale * np.eye(3), np.eye(3))
    inverse = np.linalg.inv(A)
    shift = inverse @ (pull.sum(axis=1, keepdims=True) - pull)[..., None]
    distance = np.where(determined[..., None], residual - (J @ shift)[..., 0], 0.0)
    covariance = np.eye(2) + J @ inverse @ np.swapaxes(J, -1, -2)
    spread = np.linalg.inv(covariance) / sigma_px[:, None, None] ** 2
    return distance, np.where(determined[..., None, None], spread, 0.0)


def _squared(distance: FloatArray, spread: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("...i,...ij,...j->...", distance, spread, distance))
