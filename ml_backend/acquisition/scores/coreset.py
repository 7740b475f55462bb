"""How far is a pose from every labelled one?  The distance of CoreSet-Poses as a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from label_config.skeleton import Skeleton
from label_config.values import FloatArray
from ml_backend.acquisition.base import Chunk, Input, Labelled, Scores, State
from ml_backend.acquisition.features import pose2d_features, pose3d_features
from ml_backend.acquisition.scores.terms import nothing
from ml_backend.acquisition.spaces import make_space
from ml_backend.geometry.cameras import Rig


@dataclass(frozen=True)
class CoresetDistance:
    """Mean distance between joints to the nearest labelled pose.

    With a rig: root-centred points in world units.  Without: all views side by side, each centred and in units of the
    subject's size.  Joints that either pose lacks are left out; a pose with fewer than half of its joints says nothing.
    """

    name: ClassVar[str] = "coreset_distance"
    unit: ClassVar[str] = "world unit (rig) or subject size"
    requires: ClassVar[frozenset[Input]] = frozenset({Input.POINTS, Input.LABELS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Feng et al. 2023, eq. 3"

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """The labelled poses themselves."""
        state = {"root": np.array([skeleton.root], dtype=np.float64), "flat": _side_by_side(labelled.xy_px)}
        if labelled.xyz_world is not None and np.isfinite(labelled.xyz_world).all(axis=-1).any():
            state["spatial"] = pose3d_features(labelled.xyz_world, skeleton)
        return state if any(np.isfinite(poses).any() for name, poses in state.items() if name != "root") else None

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """NaN for unusable poses and where no labelled pose can be compared."""
        if state is None:
            return nothing(chunk)
        if chunk.triangulated is not None and "spatial" in state:
            root = int(state["root"][0])
            xyz = chunk.triangulated.xyz_world[chunk.core]
            poses, references = xyz - xyz[:, root : root + 1], state["spatial"]
        else:
            poses, references = _side_by_side(chunk.xy_px[chunk.core]), state["flat"]
        space = make_space("mean_joint", poses, references)
        distance, nearest = space.nearest_reference()
        known = space.usable & (nearest >= 0)
        support = np.where(known, np.isfinite(poses).all(axis=-1).sum(axis=1), 0)
        return Scores(np.where(known, distance.astype(np.float64), np.nan), support)


def _side_by_side(xy_px: FloatArray) -> FloatArray:
    """(n, V, K, 2) → (n, V·K, 2) in units of the subject's size in each view."""
    return pose2d_features(xy_px).reshape(len(xy_px), xy_px.shape[1] * xy_px.shape[2], 2)
