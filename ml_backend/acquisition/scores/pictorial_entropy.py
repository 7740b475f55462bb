"""How well do the views together pin the body down?  Uncertainty of the 3-D pictorial structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from label_config.values import FloatArray
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.features import known_points
from ml_backend.acquisition.score import Chunk, Context, Labelled, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import mean_of_keypoints, nothing
from ml_backend.acquisition.scores.multi_view import reference_px
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.pictorial import PictorialStructure, infer_points
from ml_backend.geometry.pictorial_body import LimbLengths, box_centres, fit_side


@dataclass(frozen=True)
class PictorialLogDet:
    """Log-determinant of each keypoint's posterior covariance on a voxel grid, given all views and the limb lengths.

    Every prediction is a Gaussian as high as its confidence and ``sigma`` (relative to the crop's diagonal) wide.
    Expensive: some 20–100 ms per frame at ``grid`` = 32, eight times that at 64; every other score takes microseconds.
    A filter rather than an error estimate: it cannot see that all views are confidently wrong.
    """

    grid: int = 32
    sigma: float = 0.01
    min_poses: int = 10

    name: ClassVar[str] = "pictorial_logdet"
    unit: ClassVar[str] = "ln(world unit^6)"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.RIG, Context.LABELS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Pavlakos et al. 2017, §3.2"

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """Limb lengths with their tolerances, and the side of the box around the subject."""
        xyz = labelled.xyz_world
        if xyz is None or (known_points(xyz).sum(axis=1) >= 2).sum() < self.min_poses:
            return None
        limbs = LimbLengths.from_labels(xyz, skeleton.limbs)
        return {
            "limbs": limbs.pairs.astype(np.float64),
            "length": limbs.length_world,
            "tolerance": limbs.tolerance_world,
            "side": np.array([fit_side(xyz)]),
        }

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over keypoints; NaN where nothing could be triangulated."""
        if state is None or chunk.triangulated is None or chunk.rig is None:
            return nothing(chunk)
        side = float(state["side"][0])
        limbs = LimbLengths(state["limbs"].astype(np.int64), state["length"], state["tolerance"])
        model = PictorialStructure(chunk.xy_px.shape[2], limbs, side, self.grid)
        centre = box_centres(chunk.triangulated.xyz_world[chunk.core], side)
        xy, confidence = chunk.xy_px[chunk.core], _weight(chunk)
        sigma_px = self.sigma * reference_px(chunk)
        sigma_px = np.where(np.isfinite(sigma_px), sigma_px, 1.0)  # a view that was never seen has no size, and no points
        pose = infer_points(model, chunk.rig, xy, confidence, sigma_px, centre)
        return mean_of_keypoints(pose.logdet, xy.shape[1])


def _weight(chunk: Chunk) -> FloatArray:
    """(c, V, K) confidence, 1 for a point that came without one."""
    confidence = chunk.confidence[chunk.core]
    return np.where(chunk.valid[chunk.core] & ~np.isfinite(confidence), 1.0, confidence)
