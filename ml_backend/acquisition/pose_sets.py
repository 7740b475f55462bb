"""Distance between frames that show several subjects: poses against poses, in the assignment that costs least."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from scipy.optimize import linear_sum_assignment

from label_config.values import BoolArray, Float32Array, IntArray
from ml_backend.acquisition.feature_spaces import Features, MeanKeypointSpace

#: Up to so many subjects all assignments are tried for all frames at once.
TRIED_SUBJECTS = 4


class PoseSetSpace:
    """Mean distance between the poses of two frames, each with its partner in the cheapest assignment (Kuhn 1955).

    features  (n, S, K, d) poses, centred on their root by the caller; NaN = keypoint missing, or no such subject
    labelled  (m, S, K, d)

    Numbers of subjects do not matter.  Where a frame has more poses than the other, each one left over is as far away as the
    nearest pose of the other, and the mean runs over the larger number: a frame with a pose more than another is near to it
    when that pose is known there.  Two poses are as far apart as in :class:`MeanKeypointSpace`, which this is for one subject.
    """

    def __init__(self, features: Features, labelled: Features) -> None:
        n, slots, *pose = features.shape
        self._features = features
        self._poses = MeanKeypointSpace(features.reshape(n * slots, *pose), labelled.reshape(-1, *pose)[:0])
        self._there: BoolArray = self._poses.usable.reshape(n, slots)
        self.usable: BoolArray = np.asarray(self._there.any(axis=1))
        self._references = labelled
        known = MeanKeypointSpace(labelled.reshape(-1, *pose), labelled.reshape(-1, *pose)[:0]).usable
        self._known: BoolArray = known.reshape(len(labelled), slots)

    def __len__(self) -> int:
        return len(self.usable)

    def distance_to(self, position: int) -> Float32Array:
        """(n,) see Space."""
        return self._distance(self._features[position][self._there[position]])

    def nearest_reference(self) -> tuple[Float32Array, IntArray]:
        """(n,), (n,) see Space."""
        distance = np.where(self.usable, np.float32(np.inf), np.float32(0.0))
        nearest = np.full(len(self), -1, dtype=np.int64)
        for row in np.flatnonzero(self._known.any(axis=1)):
            candidate = self._distance(self._references[row][self._known[row]])
            nearer = candidate < distance
            distance[nearer], nearest[nearer] = candidate[nearer], row
        return distance, nearest

    def _distance(self, poses: Features) -> Float32Array:
        """(n,) distance of all frames to the frame with these poses (B, K, d)."""
        cost = np.stack([self._poses.distance_from(pose).reshape(self._there.shape) for pose in poses], axis=-1)
        return set_distance(cost, self._there)


def set_distance(cost: Float32Array, there: BoolArray) -> Float32Array:
    """(n, A, B) distances of A poses from B others, (n, A) which of the A there are → (n,); 0 where there are none.

    All B are there.
    """
    n, a, b = cost.shape
    size, count = max(a, b), there.sum(axis=1)
    far = np.where(there[..., None], cost, np.float32(np.inf))
    real = np.zeros((n, size), dtype=np.bool_)
    real[:, :a] = there
    square = np.zeros((n, size, size), dtype=np.float32)
    # Nobody stays alone where the other frame has somebody left: a pose without a partner exists on the larger side only.
    square[:, :, :b] = np.where((count < b)[:, None, None], far.min(axis=1, initial=np.inf)[:, None, :], np.float32(np.inf))
    square[:, :a, :b] = np.where(there[..., None], cost, square[:, :a, :b])
    own = np.where((count > b)[:, None], far.min(axis=2, initial=np.inf), np.float32(np.inf))
    square[:, :a, b:] = np.where(there, own, np.float32(0.0))[..., None]
    total = np.zeros(n, dtype=np.float32)
    known = count > 0
    total[known] = _cheapest(square[known])
    return np.asarray(total / np.maximum(np.maximum(count, b), 1).astype(np.float32), dtype=np.float32)


def _cheapest(cost: Float32Array) -> Float32Array:
    """(n, N, N) → (n,) sum of the cheapest assignment of rows to columns."""
    size = cost.shape[1]
    if size > TRIED_SUBJECTS:
        return np.array([square[linear_sum_assignment(square)].sum() for square in cost], dtype=np.float32)
    rows = list(range(size))
    totals = [cost[:, rows, list(columns)].sum(axis=1) for columns in permutations(rows)]
    return np.asarray(np.min(totals, axis=0), dtype=np.float32)
