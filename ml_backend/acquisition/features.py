"""Poses as vectors: root-centred in world coordinates; limbs and angles in a picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray
from label_config.values.skeleton import Skeleton

#: Fewer keypoints than this say nothing about a pose.
MIN_KEYPOINTS = 3


def known_points(points: FloatArray) -> BoolArray:
    """(..., d) → (...) True where every coordinate is finite."""
    return np.asarray(np.isfinite(points).all(axis=-1))


def pose3d_features(xyz_world: FloatArray, skeleton: Skeleton) -> FloatArray:
    """Poses relative to their root, neither turned nor scaled (Feng et al. 2023, §3.3, CoreSet-Poses).

    xyz_world  (..., K, 3) world units, NaN = not known

    Returns (..., K, 3); NaN for missing keypoints, and throughout where the root is missing.
    """
    xyz_world = _poses(xyz_world, len(skeleton))
    return np.asarray(xyz_world - xyz_world[..., skeleton.root : skeleton.root + 1, :])


def pose2d_features(xy_px: FloatArray, root: int, size_px: FloatArray) -> FloatArray:
    """Poses relative to their root and in units of their size.

    xy_px    (..., K, 2) image pixels, NaN = not known
    size_px  (...) pixels, NaN = not known

    Returns (..., K, 2); NaN for missing keypoints, and throughout without root or size.
    """
    xy_px = _poses(xy_px)
    return _scaled(xy_px - xy_px[..., root : root + 1, :], size_px)


def pose_size_px(xy_px: FloatArray) -> FloatArray:
    """(..., K, 2) → (...) diagonal of the box around the known keypoints, NaN with fewer than three of them.

    Measured on the points themselves, so that it means the same for labels and for predictions whatever box either has.
    """
    known = known_points(_poses(xy_px))
    low = np.where(known[..., None], xy_px, np.inf).min(axis=-2, initial=np.inf)
    high = np.where(known[..., None], xy_px, -np.inf).max(axis=-2, initial=-np.inf)
    enough = (known.sum(axis=-1) >= MIN_KEYPOINTS)[..., None]
    extent = np.where(enough, high, np.nan) - np.where(enough, low, np.nan)
    return np.asarray(np.hypot(extent[..., 0], extent[..., 1]))


def spanning_limbs(skeleton: Skeleton) -> IntArray:
    """(K − 1, 2) the limbs, joined to a single tree by one link from the root's tree to the top of every other tree."""
    parent = {child: origin for origin, child in skeleton.limbs}
    tops = [keypoint for keypoint in range(len(skeleton)) if keypoint not in parent]
    top = skeleton.root
    while top in parent:
        top = parent[top]
    joined = [*skeleton.limbs, *((top, other) for other in tops if other != top)]
    return np.array(joined, dtype=np.int64).reshape(-1, 2)


def angle_triples(skeleton: Skeleton) -> IntArray:
    """(A, 3) keypoints a, b, c with the angle at b, one per pair of limbs that follow each other.

    Every limb is paired with the limb that leads to its parent; limbs that start at the root of a tree with the next one
    there.  For a chain of K keypoints that is K − 2 angles.
    """
    parent = {child: origin for origin, child in skeleton.limbs}
    triples = [(parent[a], a, b) for a, b in skeleton.limbs if a in parent]
    for root in range(len(skeleton)):
        if root not in parent:
            ends = [b for a, b in skeleton.limbs if a == root]
            triples += [(a, root, b) for a, b in pairwise(ends)]
    return np.array(triples, dtype=np.int64).reshape(-1, 3)


#: The eight angles of VATL4Pose's released code, by the names of COCO's keypoints: a, b, c with the angle at b.
RELEASED_ANGLES = (
    ("right_elbow", "right_shoulder", "right_hip"),
    ("right_shoulder", "right_elbow", "right_wrist"),
    ("left_shoulder", "left_elbow", "left_wrist"),
    ("left_elbow", "left_shoulder", "left_hip"),
    ("left_hip", "right_hip", "right_knee"),
    ("right_hip", "left_hip", "left_knee"),
    ("right_hip", "right_knee", "right_ankle"),
    ("left_hip", "left_knee", "left_ankle"),
)


def released_triples(skeleton: Skeleton) -> IntArray:
    """(8, 3) :data:`RELEASED_ANGLES` as positions.  Raises BadInputError with the names that the skeleton lacks."""
    place = {name: position for position, name in enumerate(skeleton.keypoints)}
    missing = sorted({name for triple in RELEASED_ANGLES for name in triple} - set(place))
    if missing:
        raise BadInputError(
            f"wpu, angles: 'released' needs COCO's keypoints by name; the skeleton lacks {', '.join(missing)}; take 'limbs'"
        )
    return np.array([[place[name] for name in triple] for triple in RELEASED_ANGLES], dtype=np.int64)


def hybrid_features(xy_px: FloatArray, skeleton: Skeleton, size_px: FloatArray | None = None) -> FloatArray:
    """Limb vectors in units of the subject's size, and signed angles between limbs.

    The hybrid feature of Taketsugu & Ukita 2024 (WPU) without its gaps: vectors along the limbs span the same space as
    centred positions, but a missing keypoint takes only its own limbs with it instead of moving the centre of all others.

    xy_px    (..., K, 2) image pixels, NaN = not known
    size_px  (...) pixels; None = :func:`pose_size_px`

    Returns (..., 2(K − 1) + A): x, y of each of :func:`spanning_limbs`, then the angles of :func:`angle_triples` as turns in
    [−1, 1] half turns, positive from x towards y; NaN where a keypoint is missing, and throughout without a size.
    """
    xy_px = _poses(xy_px, len(skeleton))
    size = pose_size_px(xy_px) if size_px is None else size_px
    return limb_features(xy_px, spanning_limbs(skeleton), angle_triples(skeleton), size)


def limb_features(xy_px: FloatArray, limbs: IntArray, triples: IntArray, size_px: FloatArray) -> FloatArray:
    """:func:`hybrid_features` with limbs (L, 2) and angles (A, 3) given by keypoints."""
    xy_px = _poses(xy_px, 1 + max(limbs.max(initial=-1), triples.max(initial=-1)))
    vector = _scaled(xy_px[..., limbs[:, 1], :] - xy_px[..., limbs[:, 0], :], size_px)
    a, b, c = (xy_px[..., triples[:, i], :] for i in range(3))
    u, v = b - a, c - b
    cross = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    turn = np.arctan2(cross, (u * v).sum(axis=-1)) / np.pi
    turn = np.where((size_px > 0)[..., None], turn, np.nan)
    return np.concatenate([vector.reshape(*xy_px.shape[:-2], 2 * len(limbs)), turn], axis=-1)


def paper_features(xy_px: FloatArray, confidence: FloatArray | None, triples: IntArray, height_px: FloatArray) -> FloatArray:
    """The hybrid feature of Taketsugu & Ukita 2024 as it was released.

    xy_px       (..., K, 2) image pixels, NaN = not known
    confidence  (..., K) weights of the centre of gravity, NaN = 0; None = equal weights (labels)
    triples     (A, 3) keypoints of the angles
    height_px   (...) height of the box

    Returns (..., 2K + A): x, y of each keypoint from the centre of gravity in units of the height, then the acute angles
    between the *lines* of the limbs in [0, π/2] radians, which cannot tell a straight limb from a folded one.
    """
    xy_px = _poses(xy_px, 1 + triples.max(initial=-1))
    weight = np.ones(xy_px.shape[:-1]) if confidence is None else np.nan_to_num(confidence, nan=0.0)
    enough = known_points(xy_px).sum(axis=-1) >= MIN_KEYPOINTS
    height = np.where(enough, height_px, np.nan)
    position = _scaled(xy_px - _centre(xy_px, weight)[..., None, :], height)
    a, b, c = (xy_px[..., triples[:, i], :] for i in range(3))
    tiny = 1e-6  # the released code guards its divisions this way
    first = (b - a)[..., 1] / ((b - a)[..., 0] + tiny)
    second = (c - b)[..., 1] / ((c - b)[..., 0] + tiny)
    angle = np.arctan(np.abs((first - second) / (1 + first * second + tiny)))
    angle = np.where((height > 0)[..., None], angle, np.nan)
    return np.concatenate([position.reshape(*xy_px.shape[:-2], 2 * xy_px.shape[-2]), angle], axis=-1)


def _centre(xy_px: FloatArray, weight: FloatArray) -> FloatArray:
    known = known_points(xy_px)
    share = np.where(known, weight, 0.0)[..., None]
    total = share.sum(axis=-2)
    weighted = (share * np.where(known[..., None], xy_px, 0.0)).sum(axis=-2)
    result: FloatArray = np.divide(weighted, total, out=np.full(weighted.shape, np.nan), where=total > 0)
    return result


def _poses(points: FloatArray, keypoints: int = 0) -> FloatArray:
    """(..., K, d) with at least ``keypoints`` keypoints, infinities as NaN."""
    if points.ndim < 2 or points.shape[-2] < keypoints:
        raise BadInputError(f"poses: expected shape (..., K, d) with K >= {keypoints} keypoints, got {points.shape}")
    return np.where(np.isinf(points), np.nan, points)


def _scaled(xy_px: FloatArray, size_px: FloatArray) -> FloatArray:
    if size_px.shape not in ((), xy_px.shape[:-2]):
        raise BadInputError(f"poses: expected one size for each pose, shape {xy_px.shape[:-2]}, got {size_px.shape}")
    size = np.broadcast_to(size_px[..., None, None], xy_px.shape)
    result: FloatArray = np.divide(xy_px, size, out=np.full(xy_px.shape, np.nan), where=size > 0)
    return result
