"""Do the views of a rig without calibration agree?  Epipolar lines and an affine model, both learned from labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.score import Chunk, Context, Labelled, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import mean_of_terms, nothing
from ml_backend.geometry.affine import AffineModel, affine_residual, fit_affine
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.epipolar import epipolar_residual, fit_fundamentals


@dataclass(frozen=True)
class EpipolarResidual:
    """Distance of a point from the epipolar lines that the other views draw for it.

    Fundamental matrices come from labelled points, at least 15 that two views share.  Insensitive to errors along the line.
    """

    seed: int = 0

    name: ClassVar[str] = "epipolar_residual"
    unit: ClassVar[str] = "px"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.VIEWS, Context.LABELS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Hartley & Zisserman 2004, §11; averaged as Feng et al. 2023, eq. 4"

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """(V, V, 3, 3) matrices, NaN for pairs of views with too few common labels; None without a single pair."""
        matrices = fit_fundamentals(labelled.xy_px, seed=self.seed)
        return {"fundamental": matrices} if np.isfinite(matrices).any() else None

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over all views and keypoints that a second view can check."""
        if state is None:
            return nothing(chunk)
        return mean_of_terms(epipolar_residual(state["fundamental"], chunk.xy_px[chunk.core]))


@dataclass(frozen=True)
class AffineResidual:
    """Distance of a point from the best explanation of all views by three hidden coordinates.

    The stacked image coordinates of a point that is small against its distance from the cameras lie near a three-dimensional
    subspace, which at least 15 labelled points per view define.
    """

    name: ClassVar[str] = "affine_residual"
    unit: ClassVar[str] = "px"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.VIEWS, Context.LABELS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Tomasi & Kanade 1992; multi-view PCA of Biderman et al. 2024"

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """Mean and basis of the subspace; None with a single view or too few labels."""
        model = fit_affine(labelled.xy_px) if labelled.xy_px.shape[1] > 1 else None
        if model is None:
            return None
        return {"mean": model.mean, "basis": model.basis, "epsilon": np.array([model.epsilon_px])}

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over all views and keypoints that a second view can check."""
        if state is None:
            return nothing(chunk)
        model = AffineModel(state["mean"], state["basis"], float(state["epsilon"][0]))
        return mean_of_terms(affine_residual(model, chunk.xy_px[chunk.core]))
