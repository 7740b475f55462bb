"""Least confidence and the two scores that read the local maxima of a heatmap: margin and multiple-peak entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from label_config.values import FloatArray
from label_config.values.masked import divide
from label_config.values.prediction import Output
from ml_backend.acquisition.score import Chunk, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import NothingToLearn, mean_of_views, nothing, predicted

PeakNorm = Literal["l1", "softmax_raw", "softmax_x30"]

#: Training amplitude of the heatmaps for which the softmax of VL4Pose was written.
VL4POSE_AMPLITUDE = 30.0


def peak_probability(value: FloatArray, norm: PeakNorm) -> FloatArray:
    """Peak heights as probabilities.

    value  (..., M) at unit training amplitude, NaN = no peak
    norm   ``l1`` divides by the sum; ``softmax_raw`` hardly depends on the amplitude at unit height;
           ``softmax_x30`` is the softmax of heatmaps that were trained to a height of 30

    Returns (..., M); 0 where there is no peak, so all zeros without any.
    """
    present = np.isfinite(value)
    if norm == "l1":
        weight = np.where(present, np.maximum(np.where(present, value, 0.0), 0.0), 0.0)
    else:
        scale = VL4POSE_AMPLITUDE if norm == "softmax_x30" else 1.0
        logit = np.where(present, value * scale, -np.inf)
        top = np.max(logit, axis=-1, keepdims=True, initial=-np.inf)
        weight = np.where(present, np.exp(np.where(present, logit - np.where(np.isfinite(top), top, 0.0), 0.0)), 0.0)
    probability: FloatArray = np.nan_to_num(divide(weight, weight.sum(axis=-1, keepdims=True)), nan=0.0)
    return probability


def entropy(probability: npt.NDArray[np.floating]) -> FloatArray:
    """Entropy in nats over the last axis; zero entries say nothing."""
    terms = np.log(np.where(probability > 0, probability, 1), dtype=probability.dtype)
    terms *= probability
    return np.asarray(-terms.sum(axis=-1, dtype=np.float64))


@dataclass(frozen=True)
class LeastConfidence(NothingToLearn):
    """One minus the network's confidence."""

    name: ClassVar[str] = "least_confidence"
    unit: ClassVar[str] = "1"
    requires: ClassVar[frozenset[Need]] = frozenset()
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Lewis & Gale 1994; Taketsugu & Ukita 2024, baseline LC"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """In [0, 1] for confidences in [0, 1]."""
        confidence = chunk.confidence[chunk.core]
        return mean_of_views(np.where(np.isfinite(confidence), 1.0 - confidence, np.nan))


@dataclass(frozen=True)
class Margin(NothingToLearn):
    """How little the highest peak stands out over the second (best versus second best, BSB).

    ``mode="paper"`` is BSB as Feng et al. have it: minus the sum over keypoints of the difference of the two peaks, the second 0
    where there is none.  ``mode="released"`` is the code of VATL4Pose: the sum of the differences, 0 for a single peak, which
    ranks ambiguous points last.
    """

    mode: Literal["fixed", "paper", "released"] = "fixed"

    name: ClassVar[str] = "margin"
    unit: ClassVar[str] = "1"
    requires: ClassVar[frozenset[Need]] = frozenset({Output.PEAKS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Liu & Ferrari 2017; Feng et al. 2023, §3.2"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """In [0, 1] for unit heatmaps; a missing second peak counts as 0, a point without any peak scores 1."""
        if Output.PEAKS not in chunk.outputs:
            return nothing(chunk)
        value = np.sort(np.nan_to_num(chunk.outputs[Output.PEAKS][chunk.core][..., 2], nan=0.0), axis=-1)[..., ::-1]
        best = value[..., 0]
        second = value[..., 1] if value.shape[-1] > 1 else np.zeros_like(best)
        if self.mode == "released":
            term = np.where(second > 0, np.abs(best - second), 0.0)
        else:
            term = (1.0 if self.mode == "fixed" else 0.0) - (best - second)
        return mean_of_views(np.where(predicted(chunk), term, np.nan), sum_keypoints=self.mode != "fixed")


@dataclass(frozen=True)
class MultiplePeakEntropy(NothingToLearn):
    """Entropy of the heights of a heatmap's local maxima (MPE).

    A heatmap without a single peak counts as the most uncertain there is: ln of the number of peaks that are kept.
    ``norm`` decides how heights become probabilities, see :func:`peak_probability`; two unit-height peaks of 0.9 and 0.1
    give 0.325 nat under ``l1``, 0.619 under ``softmax_raw`` and 0.000 under ``softmax_x30``.
    ``mode="paper"`` sums over keypoints and lets a point without a peak count as 0.
    """

    norm: PeakNorm = "l1"
    mode: Literal["fixed", "paper"] = "fixed"

    name: ClassVar[str] = "mpe"
    unit: ClassVar[str] = "nat"
    requires: ClassVar[frozenset[Need]] = frozenset({Output.PEAKS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Liu & Ferrari 2017; Feng et al. 2023, §3.2"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Between 0 and ln M."""
        if Output.PEAKS not in chunk.outputs:
            return nothing(chunk)
        value = chunk.outputs[Output.PEAKS][chunk.core][..., 2]
        blank = 0.0 if self.mode == "paper" else float(np.log(max(value.shape[-1], 1)))
        term = np.where(np.isfinite(value).any(axis=-1), entropy(peak_probability(value, self.norm)), blank)
        return mean_of_views(np.where(predicted(chunk), term, np.nan), sum_keypoints=self.mode == "paper")
