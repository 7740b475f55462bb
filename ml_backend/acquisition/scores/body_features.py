"""The subject's body as labels show it: what turns points into comparable features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.features import angle_triples, limb_features, pose2d_features, spanning_limbs
from ml_backend.acquisition.score import State
from ml_backend.acquisition.scores.links import limb_lengths_px, subject_size_px, usual_lengths


@dataclass(frozen=True)
class Body:
    """What turns points into features in the same way for labels and predictions.

    limbs    (L, 2) and triples (A, 3): keypoints, see :mod:`ml_backend.acquisition.features`
    usual    (L,) usual length of each limb in units of the subject's size, see :mod:`.links`
    root     keypoint that poses are centred on
    """

    limbs: IntArray
    triples: IntArray
    usual: FloatArray
    root: int

    @classmethod
    def from_labels(cls, xy_px: FloatArray, skeleton: Skeleton) -> Body:
        """Learn the usual lengths from labels (m, V, K, 2)."""
        limbs = spanning_limbs(skeleton)
        length = limb_lengths_px(xy_px, limbs).reshape(xy_px.shape[0] * xy_px.shape[1], len(limbs))
        return cls(limbs, angle_triples(skeleton), usual_lengths(length), skeleton.root)

    def to_state(self) -> dict[str, FloatArray]:
        """Plain arrays; inverse of :meth:`from_state`."""
        keypoints = {"limbs": self.limbs, "triples": self.triples, "root": np.array([self.root])}
        return {name: value.astype(np.float64) for name, value in keypoints.items()} | {"usual": self.usual}

    @classmethod
    def from_state(cls, state: State) -> Body:
        """Inverse of :meth:`to_state`."""
        return cls(state["limbs"].astype(np.int64), state["triples"].astype(np.int64), state["usual"], int(state["root"][0]))

    def size_px(self, xy_px: FloatArray) -> FloatArray:
        """(..., K, 2) → (...) median of limb length / usual length, NaN with fewer than two limbs."""
        return subject_size_px(limb_lengths_px(xy_px, self.limbs), self.usual)

    def features(self, xy_px: FloatArray) -> FloatArray:
        """(..., K, 2) → (..., 2L + A) limb vectors and angles, NaN where a keypoint is missing and throughout without a size."""
        return limb_features(xy_px, self.limbs, self.triples, self.size_px(xy_px))

    def centred(self, xy_px: FloatArray) -> FloatArray:
        """(n, V, K, 2) → (n, V·K, 2) from the root in units of the size of each view, all views side by side."""
        poses = pose2d_features(xy_px, self.root, self.size_px(xy_px))
        return poses.reshape(len(xy_px), xy_px.shape[1] * xy_px.shape[2], 2)
