"""k-means clusters, the plain diversity baseline."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2

from label_config.values import BadInputError, BoolArray, Float32Array, FloatArray, IntArray
from ml_backend.acquisition.feature_spaces import Features


@dataclass(frozen=True)
class Clusters:
    """Clusters in order of size, largest first.

    label     (n,) cluster of each row, -1 for rows with non-finite values
    distance  (n,) Euclidean distance to the centre of that cluster, NaN for label -1
    """

    label: IntArray
    distance: FloatArray


def flatten_poses(poses: Features) -> Features:
    """(n, K, d) -> (n, K * d) with missing keypoints at the mean place of that keypoint; rows without any keypoint stay NaN."""
    if poses.ndim != 3:
        raise BadInputError(f"flatten_poses: expected poses of shape (n, K, d), got {poses.shape}")
    known: BoolArray = np.asarray(np.isfinite(poses).all(axis=2, keepdims=True))
    total = np.where(known, poses, 0.0).sum(axis=0)
    mean = np.divide(total, known.sum(axis=0), out=np.zeros_like(total), where=known.any(axis=0))
    filled = np.where(known, poses, mean)
    filled[~known.any(axis=(1, 2))] = np.nan
    n, keypoints, axes = poses.shape
    return filled.reshape(n, keypoints * axes)


def k_means(features: Features, k: int, *, seed: int = 0, iterations: int = 50) -> Clusters:
    """Lloyd's algorithm from a seeded k-means++ start, in float32 on centred data.

    features (n, D); at most as many clusters as there are different rows.
    """
    if features.ndim != 2 or k < 1:
        raise BadInputError(f"k_means: expected features of shape (n, D) and k >= 1, got {features.shape} and k = {k}")
    usable = np.isfinite(features).all(axis=1)
    label = np.full(len(features), -1, dtype=np.int64)
    distance = np.full(len(features), np.nan)
    if not usable.any():
        return Clusters(label, distance)
    x = features[usable] - features[usable].mean(axis=0, dtype=np.float64)
    x = x.astype(np.float32)
    centres = _plus_plus(x, k, np.random.default_rng(seed))
    with warnings.catch_warnings(action="ignore"):  # a cluster that lost all its rows keeps its centre
        centres, assigned = kmeans2(x, centres, iter=iterations, minit="matrix")
    sizes = np.bincount(assigned, minlength=len(centres))
    place = np.empty(len(centres), dtype=np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(len(centres))
    label[usable] = place[assigned]
    distance[usable] = np.linalg.norm(x - centres[assigned], axis=1)
    return Clusters(label, distance)


def _plus_plus(x: Float32Array, k: int, rng: np.random.Generator) -> Float32Array:
    """k-means++: each new centre is drawn with probability proportional to its squared distance from the others."""
    chosen = [int(rng.integers(len(x)))]
    nearest = ((x - x[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < k and nearest.max() > 0:
        cumulative = np.cumsum(nearest, dtype=np.float64)
        # side="right" never lands on a row of weight 0, that is on a copy of a centre.
        draw = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        chosen.append(min(draw, len(x) - 1))
        nearest = np.minimum(nearest, ((x - x[chosen[-1]]) ** 2).sum(axis=1))
    return x[chosen]
