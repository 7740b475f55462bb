"""What a 3-D pictorial structure knows about the subject: limb lengths, the tree they form, and the box around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from label_config.values import BadInputError, FloatArray, IntArray


@dataclass(frozen=True)
class LimbLengths:
    """How far apart the keypoints of each limb are.

    pairs            (L, 2) parent and child; together a forest
    length_world     (L,) world units; NaN = not known, the limb is then left out
    tolerance_world  (L,) largest deviation that still counts, world units
    """

    pairs: IntArray
    length_world: FloatArray
    tolerance_world: FloatArray

    def __post_init__(self) -> None:
        count = len(self.pairs)
        for name, shape in (("pairs", (count, 2)), ("length_world", (count,)), ("tolerance_world", (count,))):
            if getattr(self, name).shape != shape:
                raise BadInputError(f"LimbLengths.{name}: expected shape {shape}, got {getattr(self, name).shape}")

    @classmethod
    def from_labels(cls, xyz_world: FloatArray, limbs: Sequence[tuple[int, int]], *, coverage: float = 0.9) -> LimbLengths:
        """Median length of each limb in labelled poses (m, K, 3), and the deviation that a share ``coverage`` stays within."""
        pairs = np.array(limbs, dtype=np.int64).reshape(-1, 2)
        xyz_world = _poses(xyz_world)
        if pairs.size and not (pairs.min() >= 0 and pairs.max() < xyz_world.shape[1]):
            raise BadInputError(f"LimbLengths: expected keypoints below {xyz_world.shape[1]}, got limbs {pairs.tolist()}")
        distance = np.linalg.norm(xyz_world[:, pairs[:, 0]] - xyz_world[:, pairs[:, 1]], axis=-1)
        length, tolerance = np.full((2, len(pairs)), np.nan)
        for limb, known in enumerate(np.isfinite(distance).T):
            if known.any():
                sample = distance[known, limb]
                length[limb] = np.median(sample)
                tolerance[limb] = np.quantile(np.abs(sample - length[limb]), coverage)
        return cls(pairs, length, tolerance)


def tree_order(n_keypoints: int, pairs: IntArray) -> tuple[list[tuple[int, int]], IntArray]:
    """Limbs with every parent before its children, and (K,) the root of each keypoint's tree."""
    limbs = [(int(a), int(b)) for a, b in pairs]
    children = [child for _, child in limbs]
    if len(set(children)) < len(children) or any(not 0 <= keypoint < n_keypoints for limb in limbs for keypoint in limb):
        raise BadInputError(f"limbs: expected at most one parent per keypoint and keypoints below {n_keypoints}, got {limbs}")
    root = np.arange(n_keypoints)
    placed = set(range(n_keypoints)) - set(children)
    order: list[tuple[int, int]] = []
    while len(order) < len(limbs):
        ready = [(a, b) for a, b in limbs if a in placed and b not in placed]
        if not ready:
            raise BadInputError(f"limbs: expected a forest, got a cycle among {limbs}")
        for parent, child in ready:
            root[child] = root[parent]
            placed.add(child)
        order += ready
    return order, root


def fit_side(xyz_world: FloatArray, margin: float = 1.3) -> float:
    """Side of a cube that holds every labelled pose (m, K, 3) with room to spare: margin × the largest extent.

    Raises BadInputError without a single pose of two known keypoints.
    """
    xyz_world = _poses(xyz_world)
    known = np.isfinite(xyz_world).all(axis=2)
    usable = known.sum(axis=1) >= 2
    extent = np.nanmax(xyz_world[usable], axis=1) - np.nanmin(xyz_world[usable], axis=1)
    if not extent.size or extent.max() <= 0:
        raise BadInputError("pictorial structure: the box needs labelled poses with at least two known keypoints each, got none")
    return float(margin * extent.max())


def box_centres(xyz_world: FloatArray, side_world: float) -> FloatArray:
    """(n, K, 3) triangulated or predicted keypoints → (n, 3) middles of their bounding boxes.

    Keypoints farther than half a side from the median keypoint in any axis cannot be in the box with it and are left out.
    NaN without a known keypoint.
    """
    poses = _poses(xyz_world)
    centre = np.full((len(poses), 3), np.nan)
    for frame, pose in enumerate(poses):
        points = pose[np.isfinite(pose).all(axis=1)]
        if len(points):
            near = (np.abs(points - np.median(points, axis=0)) <= side_world / 2).all(axis=1)
            points = points[near] if near.any() else points
            centre[frame] = (points.min(axis=0) + points.max(axis=0)) / 2
    return centre


def _poses(xyz_world: FloatArray) -> FloatArray:
    """(m, K, 3) float64 in which what is not finite is NaN."""
    poses = np.asarray(xyz_world, dtype=np.float64)
    if poses.ndim != 3 or poses.shape[2] != 3:
        raise BadInputError(f"pictorial structure: expected poses of shape (m, K, 3), got {poses.shape}")
    return np.where(np.isfinite(poses), poses, np.nan)
