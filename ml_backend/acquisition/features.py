"""Poses as vectors: root-centred in space, and the centred, scaled and articulated form in a picture."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from label_config.skeleton import Skeleton
from label_config.values import BoolArray, FloatArray, IntArray

#: Fewer joints than this say nothing about a pose.
MIN_JOINTS = 3

FeatureMode = Literal["fixed", "paper"]


def known_points(points: FloatArray) -> BoolArray:
    """(..., d) → (...) True where every coordinate is finite."""
    return np.asarray(np.isfinite(points).all(axis=-1))


def pose3d_features(xyz_world: FloatArray, skeleton: Skeleton) -> FloatArray:
    """Poses relative to their root, neither turned nor scaled (Feng et al. 2023, §3.2, CoreSet-Poses).

    xyz_world  (..., K, 3) world units, NaN = not known

    Returns (..., K, 3); NaN for missing joints, and throughout where the root is missing.
    """
    return np.asarray(xyz_world - xyz_world[..., skeleton.root : skeleton.root + 1, :])


def pose2d_features(xy_px: FloatArray) -> FloatArray:
    """Poses relative to their centre and in units of their size.

    xy_px  (..., K, 2) image pixels, NaN = not known

    Returns (..., K, 2); NaN for missing joints, and throughout with fewer than three joints or no extent.
    """
    centre = _centre(xy_px, np.ones(xy_px.shape[:-1]))
    return _scaled(xy_px - centre[..., None, :], pose_size_px(xy_px))


def pose_size_px(xy_px: FloatArray) -> FloatArray:
    """(..., K, 2) → (...) diagonal of the box around the known joints, NaN with fewer than three of them.

    Measured on the points themselves, so that it means the same for labels and for predictions whatever box either has.
    """
    known = known_points(xy_px)
    low = np.where(known[..., None], xy_px, np.inf).min(axis=-2, initial=np.inf)
    high = np.where(known[..., None], xy_px, -np.inf).max(axis=-2, initial=-np.inf)
    enough = known.sum(axis=-1) >= MIN_JOINTS
    extent = np.where(enough[..., None], high, np.nan) - np.where(enough[..., None], low, np.nan)
    return np.asarray(np.hypot(extent[..., 0], extent[..., 1]))


def angle_triples(skeleton: Skeleton) -> IntArray:
    """(A, 3) joints a, b, c with the angle at b, one per pair of limbs that follow each other.

    Every limb is paired with the limb that leads to its parent; limbs that start at the root of a tree with the next one
    there.  For a chain of K joints that is K − 2 angles.
    """
    parent = {child: origin for origin, child in skeleton.limbs}
    triples = [(parent[a], a, b) for a, b in skeleton.limbs if a in parent]
    for root in range(len(skeleton)):
        if root not in parent:
            ends = [b for a, b in skeleton.limbs if a == root]
            triples += [(a, root, b) for a, b in pairwise(ends)]
    return np.array(triples, dtype=np.int64).reshape(-1, 3)


def hybrid_features(
    xy_px: FloatArray,
    confidence: FloatArray | None,
    skeleton: Skeleton,
    size_px: FloatArray | None = None,
    mode: FeatureMode = "fixed",
) -> FloatArray:
    """Centred joint positions in units of the subject's size, and the angles between limbs (Taketsugu & Ukita 2024, WPU).

    xy_px       (..., K, 2) image pixels, NaN = not known
    confidence  (..., K) weights of the centre of gravity, NaN = 0; None = equal weights (labels)
    size_px     (...) pixels; None = :func:`pose_size_px`.  The paper takes the height of the box
    mode        ``fixed``: signed turn angle in half turns, in [−1, 1].  ``paper``: acute angle between the lines, in
                [0, π/2] radians, which cannot tell a straight limb from a folded one

    Returns (..., 2K + A): x, y of each joint, then the angles of :func:`angle_triples`; NaN where a joint is missing, and
    throughout with fewer than three joints, no size or no weight.
    """
    return hybrid_from_triples(xy_px, confidence, angle_triples(skeleton), size_px, mode)


def hybrid_from_triples(
    xy_px: FloatArray, confidence: FloatArray | None, triples: IntArray, size_px: FloatArray | None, mode: FeatureMode
) -> FloatArray:
    """:func:`hybrid_features` with the angles given by joints (A, 3)."""
    weight = np.ones(xy_px.shape[:-1]) if confidence is None else np.nan_to_num(confidence, nan=0.0)
    size = pose_size_px(xy_px) if size_px is None else np.where(np.isfinite(pose_size_px(xy_px)), size_px, np.nan)
    position = _scaled(xy_px - _centre(xy_px, weight)[..., None, :], size)
    angle = _line_angle(xy_px, triples) if mode == "paper" else _turn_angle(xy_px, triples)
    angle = np.where(np.isfinite(size)[..., None], angle, np.nan)
    return np.concatenate([position.reshape(*xy_px.shape[:-2], 2 * xy_px.shape[-2]), angle], axis=-1)


def _centre(xy_px: FloatArray, weight: FloatArray) -> FloatArray:
    known = known_points(xy_px)
    share = np.where(known, weight, 0.0)[..., None]
    total = share.sum(axis=-2)
    weighted = (share * np.where(known[..., None], xy_px, 0.0)).sum(axis=-2)
    result: FloatArray = np.divide(weighted, total, out=np.full(weighted.shape, np.nan), where=total > 0)
    return result


def _scaled(xy_px: FloatArray, size_px: FloatArray) -> FloatArray:
    size = np.broadcast_to(size_px[..., None, None], xy_px.shape)
    result: FloatArray = np.divide(xy_px, size, out=np.full(xy_px.shape, np.nan), where=size > 0)
    return result


def _turn_angle(xy_px: FloatArray, triples: IntArray) -> FloatArray:
    a, b, c = (xy_px[..., triples[:, i], :] for i in range(3))
    u, v = b - a, c - b
    cross = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    return np.asarray(np.arctan2(cross, (u * v).sum(axis=-1)) / np.pi)


def _line_angle(xy_px: FloatArray, triples: IntArray) -> FloatArray:
    a, b, c = (xy_px[..., triples[:, i], :] for i in range(3))
    tiny = 1e-6  # the paper's code guards its divisions this way
    first = (b - a)[..., 1] / ((b - a)[..., 0] + tiny)
    second = (c - b)[..., 1] / ((c - b)[..., 0] + tiny)
    return np.asarray(np.arctan(np.abs((first - second) / (1 + first * second + tiny))))
