"""Do the views agree?  Scores that read the robust triangulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from label_config.values import BoolArray, FloatArray
from ml_backend.acquisition.score import Chunk, Context, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import NothingToLearn, mean_of_keypoints, nothing
from ml_backend.geometry.consistency import multi_view_consistency, outlier_ratio


def reference_px(chunk: Chunk) -> FloatArray:
    """(c, V) diagonal of the crop that the network was given, of the whole picture where there was no crop."""
    full = np.broadcast_to(np.hypot(*chunk.size_px.T), chunk.xy_px[chunk.core].shape[:2])
    size = chunk.prediction.box_px[chunk.core][..., 2:]
    diagonal = np.hypot(size[..., 0], size[..., 1])
    return np.where(diagonal > 0, diagonal, full)


@dataclass(frozen=True)
class MultiViewConsistency(NothingToLearn):
    """Reprojection error of the robustly triangulated points, averaged over *all* views and keypoints (MC).

    Views that the consensus rejected count too: they are the signal.  ``power=2`` is the published formula, ``power=1`` the
    mean distance of its text.  ``relative`` divides by the diagonal of the crop, for cameras of different resolution.
    """

    power: Literal[1, 2] = 2
    relative: bool = False

    name: ClassVar[str] = "mc"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.RIG})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Feng et al. 2023, eq. 4"

    @property
    def unit(self) -> str:
        """px^2 by default."""
        if self.relative:
            return "1"
        return "px^2" if self.power == 2 else "px"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over every view and keypoint that has a reprojection error."""
        if chunk.triangulated is None:
            return nothing(chunk)
        error = chunk.triangulated.reprojection_px[chunk.core]
        if self.relative:
            error = error / reference_px(chunk)[..., None]
        raw, support = multi_view_consistency(error, self.power)
        return Scores(raw, support, error**self.power)


@dataclass(frozen=True)
class OutlierRatio(NothingToLearn):
    """Share of the views that the robust consensus rejects, averaged over keypoints.

    A keypoint on which no two views agree counts as 1, one that fewer than two views see says nothing.
    ``per_point`` is 1 for a rejected view, 0 for an inlier.
    """

    name: ClassVar[str] = "outlier_ratio"
    unit: ClassVar[str] = "1"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.RIG})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "from the inlier count of Feng et al. 2023, algorithm 2"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """In [0, 1]."""
        if chunk.triangulated is None:
            return nothing(chunk)
        points = chunk.triangulated
        error, inlier = points.reprojection_px[chunk.core], points.inlier[chunk.core]
        observed = np.isfinite(error)
        per_point = np.where(observed, np.where(inlier, 0.0, 1.0), np.nan)
        return Scores(outlier_ratio(inlier, error), observed.sum(axis=(1, 2)), per_point)


@dataclass(frozen=True)
class MaxError(NothingToLearn):
    """The largest reprojection error of a frame."""

    name: ClassVar[str] = "max_error"
    unit: ClassVar[str] = "px"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.RIG})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "companion of Feng et al. 2023, eq. 4"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Maximum over views and keypoints."""
        if chunk.triangulated is None:
            return nothing(chunk)
        error = chunk.triangulated.reprojection_px[chunk.core]
        observed = np.isfinite(error)
        support = observed.sum(axis=(1, 2))
        worst = np.where(observed, error, -np.inf).max(axis=(1, 2))
        return Scores(np.where(support > 0, worst, np.nan), support, error)


@dataclass(frozen=True)
class TriangulationCovariance(NothingToLearn):
    """How far a triangulated point may move in its worst direction when the picture moves by one pixel.

    Square root of the largest eigenvalue of the covariance, averaged over keypoints.  Large where the inlier rays are few
    or nearly parallel: there, agreement proves little.
    """

    name: ClassVar[str] = "triangulation_covariance"
    unit: ClassVar[str] = "world unit per px"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.RIG})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Gauss–Newton covariance of the reprojection error, Hartley & Zisserman 2004, §5.2"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over keypoints that could be triangulated."""
        if chunk.triangulated is None:
            return nothing(chunk)
        covariance = chunk.triangulated.covariance[chunk.core]
        known: BoolArray = np.asarray(np.isfinite(covariance).all(axis=(-1, -2)))
        largest = np.linalg.eigvalsh(np.where(known[..., None, None], covariance, 0.0))[..., -1]
        return mean_of_keypoints(np.where(known, np.sqrt(np.maximum(largest, 0.0)), np.nan), chunk.xy_px.shape[1])
