"""What auxiliary networks say about the pose network's own error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from label_config.values.masked import masked_mean
from label_config.values.prediction import Output
from ml_backend.acquisition.score import Chunk, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import NothingToLearn, cell_px, mean_of_views, nothing


@dataclass(frozen=True)
class Aleatoric(NothingToLearn):
    """Logarithm of the squared error that an auxiliary network expects of each point.

    In cells of a crop of 64 × 64, as the network is trained, so that a subject that fills its crop weighs the same near and far.
    """

    name: ClassVar[str] = "aleatoric"
    unit: ClassVar[str] = "ln cell^2"
    requires: ClassVar[frozenset[Need]] = frozenset({Output.VARIANCE})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Kendall & Gal 2017; baseline of Shukla et al. 2022"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over keypoints, then over views."""
        if Output.VARIANCE not in chunk.outputs:
            return nothing(chunk)
        return mean_of_views(chunk.outputs[Output.VARIANCE][chunk.core] - 2 * np.log(cell_px(chunk))[..., None])


@dataclass(frozen=True)
class LearningLoss(NothingToLearn):
    """The loss that an auxiliary network expects of the picture, up to a constant."""

    name: ClassVar[str] = "learning_loss"
    unit: ClassVar[str] = "ln loss"
    requires: ClassVar[frozenset[Need]] = frozenset({Output.LEARNING_LOSS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Yoo & Kweon 2019; pairs compared as Shukla & Ahmed 2021"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over views; no single point is to blame."""
        if Output.LEARNING_LOSS not in chunk.outputs:
            return nothing(chunk)
        return Scores(*masked_mean(chunk.outputs[Output.LEARNING_LOSS][chunk.core], axis=1))
