"""Disagreement of several networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from label_config.values.masked import divide
from label_config.values.prediction import Output
from ml_backend.acquisition.features import known_points
from ml_backend.acquisition.score import Chunk, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import NothingToLearn, mean_of_views, nothing

#: Models that are compared: the live one and those that were live last beside it.
ENSEMBLE_MODELS = 3


@dataclass(frozen=True)
class EnsembleVariance(NothingToLearn):
    """Total variance (x plus y, unbiased) of a point over the models that predicted it."""

    name: ClassVar[str] = "ensemble_variance"
    unit: ClassVar[str] = "px^2"
    requires: ClassVar[frozenset[Need]] = frozenset({Output.ENSEMBLE})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "ensemble variance, Biderman et al. 2024"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """A point that fewer than two models predicted says nothing."""
        if Output.ENSEMBLE not in chunk.outputs:
            return nothing(chunk)
        xy = np.moveaxis(chunk.outputs[Output.ENSEMBLE][chunk.core], 3, 0)
        present = known_points(xy)
        count = present.sum(axis=0)
        kept = np.where(present[..., None], xy, 0.0)
        centre = divide(kept.sum(axis=0), count[..., None])
        squared = np.where(present, ((kept - centre) ** 2).sum(axis=-1), 0.0).sum(axis=0)
        return mean_of_views(divide(squared, count - 1))
