"""How a careful but human annotator places points: the oracle's noise model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from label_config.values import BoolArray, FloatArray, PointState, Pose2D, Provenance
from label_config.values.skeleton import Skeleton


@dataclass(frozen=True)
class AnnotatorNoise:
    """Independent errors of one annotator; the same seed and frame give the same labels.

    sigma_px        standard deviation of a visible point, per axis
    occluded_sigma_px  the same of a point that the annotator has to guess
    miss_rate       probability that a point is forgotten
    swap_rate       probability, per picture and left/right pair, that the two sides are exchanged
    """

    seed: int = 0
    sigma_px: float = 1.0
    occluded_sigma_px: float = 2.5
    miss_rate: float = 0.01
    swap_rate: float = 0.002

    def annotate(self, frame: int, truth_xy: FloatArray, occluded: BoolArray, skeleton: Skeleton) -> Pose2D:
        """Labels of one frame.

        truth_xy  (V, K, 2) image pixels, NaN = outside the picture, never labelled
        occluded  (V, K)
        """
        rng = np.random.default_rng([self.seed, frame])
        order = np.tile(np.arange(len(skeleton)), (len(truth_xy), 1))
        for left, right in skeleton.pairs:
            views = rng.random(len(truth_xy)) < self.swap_rate
            order[views, left], order[views, right] = right, left
        xy = np.take_along_axis(truth_xy, order[..., None], axis=1)
        hidden = np.take_along_axis(occluded, order, axis=1)
        xy = xy + rng.standard_normal(xy.shape) * np.where(hidden, self.occluded_sigma_px, self.sigma_px)[..., None]
        missed = (rng.random(hidden.shape) < self.miss_rate) | ~np.isfinite(xy).all(axis=-1)
        state = np.where(hidden, PointState.OCCLUDED, PointState.VISIBLE)
        return Pose2D(
            xy_px=np.where(missed[..., None], np.nan, xy),
            confidence=np.where(missed, np.nan, 1.0),
            state=np.where(missed, PointState.UNLABELLED, state).astype(np.int64),
            provenance=np.where(missed, Provenance.NONE, Provenance.PLACED).astype(np.int64),
        )
