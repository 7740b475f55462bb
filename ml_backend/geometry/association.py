"""Which instances in different cameras are one subject: matched by geometry, in all cameras at once.

An *instance* is what one camera shows of one subject: its keypoints.  Two instances of calibrated cameras agree in a keypoint
when some place in the world projects near both.  How near is the reprojection error to first order (Sampson 1982), each camera's
part in units of the subject's size there, so that near and far subjects weigh the same.  The error is truncated: one wild
keypoint cannot part two instances.  Every shared keypoint adds its evidence; instances that share none say nothing about each
other.

Subjects are the clusters of most evidence with at most one instance per camera (:mod:`ml_backend.geometry.partition`).  They are
sets, so the matching is the same round every cycle of cameras.  An instance that agrees with no other stays alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.epipolar import fundamental_from_rig
from ml_backend.geometry.partition import partition
from ml_backend.geometry.view_agreement import diagonal_px

#: Reprojection error, in sizes of the subject, at which a keypoint is no evidence for or against one subject …
NEUTRAL = 0.05
#: … and how many times as large it is at most, so that the worst keypoint says no more than the best.
MOST = 2.0
#: A subject is taken to be at least this share of the picture's longer side, however few of its points are there.
LEAST_SHARE = 0.05
_TINY = 1e-300


@dataclass(frozen=True)
class Association:
    """Instances of one frame and the subjects that they belong to.

    subject    (S, V) number of the subject, from 0 in the order of cameras and instances; -1 = no instance there
    evidence   sum over all pairs of instances of one subject; at most 1 per pair
    optimal    it is known that no other matching has more evidence
    """

    subject: IntArray
    evidence: float
    optimal: bool

    @property
    def count(self) -> int:
        """How many subjects there are."""
        return int(self.subject.max(initial=-1)) + 1


def associate(rig: Rig, xy_px: FloatArray) -> list[Association]:
    """Match the instances of every frame across the cameras of ``rig``.

    xy_px  (n, S, V, K, 2) distorted pixels of up to S instances per camera in any order; NaN = no point, all NaN = no instance

    Deterministic.  Raises BadInputError for shapes that do not fit the rig.
    """
    xy_px = rig.check_points(xy_px)
    if xy_px.ndim != 5:
        raise BadInputError(f"instances: expected shape (frames, instances, views, keypoints, 2), got {xy_px.shape}")
    placed = np.asarray(np.isfinite(xy_px).all(axis=-1))
    undistorted = np.where(placed[..., None], rig.undistort(xy_px), np.nan)
    return [_associate_frame(rig, seen, undistorted[i], placed[i].any(axis=-1)) for i, seen in enumerate(xy_px)]


def arranged(xy_px: FloatArray, subject: IntArray) -> FloatArray:
    """(n, S, V, K, 2) by instance and (n, S, V) numbers → (n, subjects, V, K, 2) by subject."""
    by_subject = np.full((len(xy_px), int(subject.max(initial=-1)) + 1, *xy_px.shape[2:]), np.nan)
    frame, slot, view = np.nonzero(subject >= 0)
    by_subject[frame, subject[frame, slot, view], view] = xy_px[frame, slot, view]
    return by_subject


def _associate_frame(rig: Rig, xy_px: FloatArray, undistorted_px: FloatArray, present: BoolArray) -> Association:
    view, slot = np.nonzero(present.T)
    found = partition(pair_evidence(rig, xy_px[slot, view], undistorted_px[slot, view], view), view)
    subject = np.full(present.shape, -1, dtype=np.int64)
    subject[slot, view] = found.cluster
    return Association(subject, found.value, found.optimal)


def pair_evidence(rig: Rig, xy_px: FloatArray, undistorted_px: FloatArray, view: IntArray) -> FloatArray:
    """(N, K, 2) instances, (N,) their cameras → (N, N) evidence in [-1, 1] that two are one subject; 0 within a camera.

    A keypoint that both have adds (1 − error / NEUTRAL) / K, the error being at most MOST · NEUTRAL.
    """
    size = _sizes_px(rig, xy_px, view)
    x = np.concatenate((undistorted_px, np.ones((*xy_px.shape[:2], 1))), axis=-1)
    line = x[:, None] @ _fundamental(rig)[view].transpose(0, 1, 3, 2)  # (N, V, K, 3): where each camera may see the point
    steepness = line[..., 0] ** 2 + line[..., 1] ** 2
    i, j = np.nonzero(np.triu(view[:, None] != view[None], 1))
    distance = (x[j] * line[i, view[j]]).sum(axis=-1)
    variance = size[j, None] ** 2 * steepness[i, view[j]] + size[i, None] ** 2 * steepness[j, view[i]]
    error = np.sqrt(distance**2 / np.maximum(variance, _TINY))
    says = np.where(np.isfinite(error), 1 - np.minimum(error / NEUTRAL, MOST), 0.0).sum(axis=-1)
    evidence = np.zeros((len(view), len(view)))
    evidence[i, j] = evidence[j, i] = says / max(1, xy_px.shape[1])
    return evidence


@lru_cache(maxsize=8)
def _fundamental(rig: Rig) -> FloatArray:
    return fundamental_from_rig(rig)


def _sizes_px(rig: Rig, xy_px: FloatArray, view: IntArray) -> FloatArray:
    """(N,) how large a subject is in the picture: the diagonal of its points, for few points half that of the others there."""
    own = diagonal_px(xy_px)
    usual = np.array([np.median(own[view == v]) if (view == v).any() else 0.0 for v in range(len(rig))])
    least = LEAST_SHARE * rig.size_px.max(axis=1)
    return np.asarray(np.maximum(own, np.maximum(usual / 2, least)[view]))
