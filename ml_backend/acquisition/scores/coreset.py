"""How far is a pose from every labelled one?  The distance of CoreSet-Poses as a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.feature_spaces import make_space
from ml_backend.acquisition.features import known_points, pose3d_features
from ml_backend.acquisition.score import Chunk, Context, Labelled, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import nothing
from ml_backend.acquisition.scores.body_features import Body
from ml_backend.geometry.cameras import Rig


@dataclass(frozen=True)
class CoresetDistance:
    """Mean distance between keypoints to the nearest labelled pose.

    With a rig: root-centred points in world units.  Without: all views side by side, each from its root and in units
    of the subject's size.  Keypoints that either pose lacks are left out; a pose with fewer than half of its
    keypoints has no value.
    """

    name: ClassVar[str] = "coreset_distance"
    unit: ClassVar[str] = "world unit (rig) or subject size"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.LABELS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Feng et al. 2023, eq. 3"

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """The labelled poses themselves."""
        body = Body.from_labels(labelled.xy_px, skeleton)
        poses = {"flat": body.centred(labelled.xy_px)}
        if labelled.xyz_world is not None:
            poses["spatial"] = pose3d_features(labelled.xyz_world, skeleton)
        known = {name: values for name, values in poses.items() if np.isfinite(values).any()}
        return body.to_state() | known if known else None

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """NaN for unusable poses and where no labelled pose can be compared."""
        if state is None:
            return nothing(chunk)
        body = Body.from_state(state)
        if chunk.triangulated is not None and "spatial" in state:
            xyz = chunk.triangulated.xyz_world[chunk.core]
            poses, references = xyz - xyz[:, body.root : body.root + 1], state["spatial"]
        elif "flat" in state:
            poses, references = body.centred(chunk.xy_px[chunk.core]), state["flat"]
        else:
            return nothing(chunk)
        space = make_space("mean_joint", poses, references)
        distance, nearest = space.nearest_reference()
        known = space.usable & (nearest >= 0)
        support = np.where(known, known_points(poses).sum(axis=1), 0)
        return Scores(np.where(known, distance.astype(np.float64), np.nan), support)
