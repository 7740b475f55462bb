"""Scores that read whole heatmaps: entropy and distance from a single blob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from label_config.values import Float32Array, FloatArray
from label_config.values.masked import divide
from label_config.values.prediction import Output
from ml_backend.acquisition.score import Chunk, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import NothingToLearn, mean_of_views, nothing
from ml_backend.acquisition.scores.confidence import entropy


def _probability(heatmaps: npt.NDArray[Any]) -> Float32Array:
    """(..., h, w) → (..., h·w) summing to one; NaN where a map is not finite, uniform where it has no positive value."""
    cells = heatmaps.shape[-2] * heatmaps.shape[-1]
    flat: Float32Array = np.maximum(heatmaps.reshape(*heatmaps.shape[:-2], cells), 0, dtype=np.float32)  # passes NaN on
    total = flat.sum(axis=-1, keepdims=True, dtype=np.float64)
    flat[total[..., 0] == 0] = 1
    total[total == 0] = cells
    flat /= np.where(np.isfinite(total), total, np.nan).astype(np.float32)
    return flat


@dataclass(frozen=True)
class HeatmapEntropy(NothingToLearn):
    """Entropy of a heatmap, clamped at 0 and divided by its sum.

    An empty map says nothing about where the point is: it counts as uniform, ln(h·w).
    """

    name: ClassVar[str] = "heatmap_entropy"
    unit: ClassVar[str] = "nat"
    requires: ClassVar[frozenset[Need]] = frozenset({Output.HEATMAPS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "released code of Taketsugu & Ukita 2024, not in the paper; multi-view mean Feng et al. 2023, eq. 1"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Between 0 and ln(h·w)."""
        if Output.HEATMAPS not in chunk.outputs:
            return nothing(chunk)
        maps = chunk.outputs[Output.HEATMAPS][chunk.core]
        terms = [entropy(_probability(maps[:, :, k])) for k in range(maps.shape[2])]
        return mean_of_views(np.stack(terms, axis=2))


@dataclass(frozen=True)
class Unimodality(NothingToLearn):
    """Jensen–Shannon divergence between a heatmap and the single Gaussian that it should be.

    The Gaussian of ``sigma_hm`` heatmap pixels stands at the map's maximum, refined below a pixel by the parabola through
    the logarithm of its neighbours (exact for a Gaussian).  Needs no peak finder and knows no border.  An empty map counts
    as uniform.
    """

    sigma_hm: float = 2.0

    name: ClassVar[str] = "unimodality"
    unit: ClassVar[str] = "nat"
    requires: ClassVar[frozenset[Need]] = frozenset({Output.HEATMAPS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "after the unimodal loss of Lightning Pose, Biderman et al. 2024"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Between 0 and ln 2."""
        if Output.HEATMAPS not in chunk.outputs:
            return nothing(chunk)
        maps = chunk.outputs[Output.HEATMAPS][chunk.core]
        terms = [self._divergence(maps[:, :, k]) for k in range(maps.shape[2])]
        return mean_of_views(np.stack(terms, axis=2))

    def _divergence(self, maps: npt.NDArray[Any]) -> FloatArray:
        """(c, V, h, w) → (c, V) in nats."""
        height, width = maps.shape[-2:]
        measured = _probability(maps)
        x, y = subpixel_argmax(measured.reshape(maps.shape))
        along_x, along_y = self._blob(np.arange(width) - x[..., None]), self._blob(np.arange(height) - y[..., None])
        ideal = (along_y[..., :, None] * along_x[..., None, :]).reshape(measured.shape)
        own = entropy(measured) + entropy(along_x) + entropy(along_y)  # the ideal is a product, so its entropy is a sum
        ideal += measured
        ideal /= 2
        # rounding may leave -1e-7, which would read as "better than perfect"; NaN passes through
        return np.asarray(np.maximum(entropy(ideal) - own / 2, 0.0))

    def _blob(self, offset: FloatArray) -> Float32Array:
        """Normalised Gaussian over the last axis."""
        blob = np.exp(-(offset**2) / (2 * self.sigma_hm**2))
        return np.asarray(blob / blob.sum(axis=-1, keepdims=True), dtype=np.float32)


def subpixel_argmax(maps: npt.NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
    """Column and row of the maximum, refined by a parabola in the log domain where both neighbours are positive.

    maps  (..., h, w), NaN-free or NaN throughout; NaN maps give an arbitrary finite place
    """
    height, width = maps.shape[-2:]
    flat = maps.reshape(*maps.shape[:-2], height * width)
    peak = np.asarray(flat.argmax(axis=-1))
    row, column = np.divmod(peak, width)

    def offset(step: int, inside: npt.NDArray[np.bool_]) -> FloatArray:
        around = [np.where(inside, peak + d * step, peak)[..., None] for d in (-1, 0, 1)]
        before, here, after = (np.take_along_axis(flat, place, axis=-1)[..., 0] for place in around)
        usable = inside & (before > 0) & (after > 0)
        low, mid, high = (np.log(np.where(usable, value, 1.0)) for value in (before, here, after))
        return np.where(usable, 0.5 * divide(high - low, 2 * mid - low - high), 0.0)

    x = column + np.nan_to_num(offset(1, (column > 0) & (column < width - 1)), nan=0.0)
    y = row + np.nan_to_num(offset(width, (row > 0) & (row < height - 1)), nan=0.0)
    return x, y
