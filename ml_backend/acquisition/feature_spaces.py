"""Spaces in which frames are near or far: Euclidean features and the mean distance between keypoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from label_config.values import BadInputError, BoolArray, Float32Array, IntArray

Metric = Literal["l2", "mean_joint", "pose_set"]
Features = npt.NDArray[Any]  #: any floating type

_BLOCK = 1 << 22  #: values of a temporary distance block


class Rows(Protocol):
    """An array that is read by rows: NumPy's own, or shards on disk."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, positions: IntArray) -> npt.NDArray[Any]: ...


class Space(Protocol):
    """n candidates and m labelled references in one space.

    usable  (n,) False for candidates whose features are missing: their distance to everything is 0
    """

    @property
    def usable(self) -> BoolArray: ...

    def __len__(self) -> int: ...

    def distance_to(self, position: int) -> Float32Array:
        """(n,) distance of every candidate to the one at ``position``, which must be usable."""
        ...

    def nearest_reference(self) -> tuple[Float32Array, IntArray]:
        """(n,) distance to the nearest reference and (n,) its row; infinite and -1 when there is no usable reference."""
        ...


def make_space(metric: Metric, features: Features, labelled: Features | None = None) -> Space:
    """The space of a metric.

    ``l2``          features (n, D), labelled (m, D): Euclidean distance; a row with a non-finite value is missing
    ``mean_joint``  features (n, K, d), labelled (m, K, d): see MeanKeypointSpace
    ``pose_set``    features (n, S, K, d), labelled (m, S, K, d): see pose_sets.PoseSetSpace
    """
    from ml_backend.acquisition.pose_sets import PoseSetSpace  # which is made of spaces itself

    if metric not in get_args(Metric):
        raise BadInputError(f"metric: expected one of {', '.join(get_args(Metric))}, got {metric!r}")
    rank = {"l2": 2, "mean_joint": 3, "pose_set": 4}[metric]
    if features.ndim != rank:
        raise BadInputError(f"features for metric {metric!r}: expected {rank} axes, got shape {features.shape}")
    if labelled is None:
        labelled = np.zeros((0, *features.shape[1:]), dtype=np.float32)
    if labelled.shape[1:] != features.shape[1:]:
        raise BadInputError(
            f"labelled features: expected shape (m, {', '.join(map(str, features.shape[1:]))}) "
            f"like the candidates, got {labelled.shape}"
        )
    if metric == "l2":
        return EuclideanSpace(features, labelled)
    return MeanKeypointSpace(features, labelled) if metric == "mean_joint" else PoseSetSpace(features, labelled)


@dataclass(frozen=True)
class FeatureSet:
    """What makes frames near or far.

    rows      one row for each frame of the pool, shaped as ``make_space`` asks
    labelled  rows of the labelled frames, None = nothing labelled
    name, unit  for the records, such as ``pose3d_root`` in ``mm``
    """

    rows: Rows
    metric: Metric = "l2"
    labelled: Features | None = None
    name: str = "features"
    unit: str = "1"


class EuclideanSpace:
    """Euclidean distance by ``|x|^2 - 2 x.y + |y|^2`` in float32: one matrix-vector product per pick.

    The data are centred first because the form loses digits where norms exceed distances; what lies below the rounding
    error counts as 0, so that copies of a frame are at distance 0 exactly.
    """

    def __init__(self, features: Features, labelled: Features) -> None:
        self.usable = _complete(features)
        known = _complete(labelled)
        self._known = np.flatnonzero(known)
        centre: Features = np.zeros(features.shape[1], dtype=features.dtype)
        if self.usable.any():
            total = np.sum(features, axis=0, dtype=np.float64, where=self.usable[:, None])
            centre = np.asarray(total / self.usable.sum(), dtype=features.dtype)
        # Subtracting before narrowing, because float32 far from the origin has lost what matters.
        self._x: Float32Array = (features - centre).astype(np.float32)
        self._x[~self.usable] = 0.0
        self._references: Float32Array = (labelled[known] - centre).astype(np.float32)
        self._square: Float32Array = np.einsum("nd,nd->n", self._x, self._x)

    def __len__(self) -> int:
        return len(self._x)

    def distance_to(self, position: int) -> Float32Array:
        """(n,) see Space."""
        squared = _squared(self._x @ self._x[position], self._square + self._square[position])
        squared[~self.usable] = 0.0
        return np.sqrt(squared, out=squared)

    def nearest_reference(self) -> tuple[Float32Array, IntArray]:
        """(n,), (n,) see Space."""
        squared = np.full(len(self), np.inf, dtype=np.float32)
        nearest = np.full(len(self), -1, dtype=np.int64)
        step = max(1, _BLOCK // max(len(self), 1))
        for start in range(0, len(self._references), step):
            block = self._references[start : start + step]
            norms = self._square[:, None] + np.einsum("md,md->m", block, block)
            candidate = _squared(self._x @ block.T, norms)
            closest = candidate.argmin(axis=1)
            best = np.take_along_axis(candidate, closest[:, None], axis=1)[:, 0]
            nearer = best < squared
            squared[nearer], nearest[nearer] = best[nearer], self._known[start + closest[nearer]]
        squared[~self.usable], nearest[~self.usable] = 0.0, -1
        return np.sqrt(squared, out=squared), nearest


def _complete(features: Features) -> BoolArray:
    """(n, D) -> (n,) True where every value is finite."""
    complete: BoolArray = np.all(np.isfinite(features), axis=1)
    return complete


def _squared(product: Float32Array, norms: Float32Array) -> Float32Array:
    """x.y and |x|^2 + |y|^2 -> squared distances; overwrites both."""
    product *= -2.0
    product += norms
    norms *= np.float32(4.0 * np.finfo(np.float32).eps)
    product *= product > norms
    return product


class MeanKeypointSpace:
    """Mean over the keypoints of the distance between them: CoreSet-Poses (Feng et al., equation 3).

    features  (n, K, d) poses, centred on their root by the caller; NaN = keypoint missing

    The mean runs over the keypoints that both poses have.  Where these are fewer than half of K the distance is 0, so that
    missing data are never mistaken for novelty; for the same reason a pose with fewer than half of its keypoints is not usable,
    neither as candidate nor as reference.
    """

    def __init__(self, features: Features, labelled: Features) -> None:
        self._x, self._valid = _by_keypoint(features)
        self._references, self._reference_valid = _by_keypoint(labelled)
        self._least = 0.5 * features.shape[1]
        self.usable: BoolArray = self._valid.sum(axis=0) >= self._least
        self._complete = bool(self._valid.all())
        self._difference = np.empty(self._x.shape[1:], dtype=np.float32)
        self._term = np.empty(self._x.shape[2], dtype=np.float32)

    def __len__(self) -> int:
        return self._x.shape[2]

    def distance_to(self, position: int) -> Float32Array:
        """(n,) see Space."""
        return self._distance(self._x[:, :, position], self._valid[:, position])

    def distance_from(self, pose: Features) -> Float32Array:
        """(n,) distance of every candidate from any pose (K, d)."""
        x, valid = _by_keypoint(pose[None])
        return self._distance(x[:, :, 0], valid[:, 0])

    def nearest_reference(self) -> tuple[Float32Array, IntArray]:
        """(n,), (n,) see Space."""
        distance = np.where(self.usable, np.float32(np.inf), np.float32(0.0))
        nearest = np.full(len(self), -1, dtype=np.int64)
        for row in np.flatnonzero(self._reference_valid.sum(axis=0) >= self._least):
            candidate = self._distance(self._references[:, :, row], self._reference_valid[:, row])
            nearer = candidate < distance
            distance[nearer], nearest[nearer] = candidate[nearer], row
        return distance, nearest

    def _distance(self, pose: Float32Array, valid: Float32Array) -> Float32Array:
        """(n,) distance to one pose (K, d) with ``valid`` (K,) 1 or 0."""
        total = np.zeros(len(self), dtype=np.float32)
        for keypoint in np.flatnonzero(valid):
            np.subtract(self._x[keypoint], pose[keypoint][:, None], out=self._difference)
            np.einsum("dn,dn->n", self._difference, self._difference, out=self._term)
            np.sqrt(self._term, out=self._term)
            if not self._complete:
                self._term *= self._valid[keypoint]
            total += self._term
        shared: Float32Array = valid @ self._valid
        total[shared < self._least] = 0.0
        return np.divide(total, shared, out=total, where=shared > 0)


def _by_keypoint(poses: Features) -> tuple[Float32Array, Float32Array]:
    """(n, K, d) -> (K, d, n) with 0 for missing keypoints, and (K, n) 1 where the keypoint is there; contiguous."""
    valid = np.all(np.isfinite(poses), axis=2)
    filled = np.where(valid[:, :, None], poses, 0.0).astype(np.float32)
    return np.ascontiguousarray(filled.transpose(1, 2, 0)), np.ascontiguousarray(valid.T.astype(np.float32))
