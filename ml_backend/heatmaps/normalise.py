"""Heatmap normalisations.  Scores state which one they use, because papers differ silently (docs/methods.md §2.0)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from label_config.values import BadInputError, FloatArray

Mode = Literal["raw", "clamp", "unit", "prob", "softmax"]


def normalise(heatmaps: FloatArray, mode: Mode, *, amplitude: float = 1.0, temperature: float = 1.0) -> FloatArray:
    """Maps (..., h, w) in another scale, same shape and floating type.

    raw      the network's output
    clamp    max(H, 0)
    unit     clamp, divided by the training ``amplitude``
    prob     clamp, divided by its sum; NaN everywhere for a map without a positive value, which describes no distribution
    softmax  softmax over all cells of H / ``temperature``

    Under ``prob`` and ``softmax`` a map with a cell that is not finite is NaN everywhere.
    """
    if heatmaps.ndim < 2 or 0 in heatmaps.shape[-2:]:
        raise BadInputError(f"normalise: expected heatmaps of shape (..., h, w) with h, w > 0, got {heatmaps.shape}")
    if not (amplitude > 0 and temperature > 0):
        raise BadInputError(f"normalise: expected amplitude and temperature > 0, got {amplitude} and {temperature}")
    if mode == "raw":
        return heatmaps
    if mode == "softmax":
        scaled = _finite_or_nan(heatmaps) / temperature
        power = np.exp(scaled - scaled.max(axis=(-2, -1), keepdims=True))
        return np.asarray(power / power.sum(axis=(-2, -1), keepdims=True))
    positive = np.maximum(heatmaps, 0)
    if mode == "clamp":
        return positive
    if mode == "unit":
        return np.asarray(positive / amplitude)
    if mode == "prob":
        positive = _finite_or_nan(positive)
        total = positive.sum(axis=(-2, -1), keepdims=True)
        return np.asarray(np.divide(positive, total, out=np.full_like(positive, np.nan), where=total > 0))
    raise BadInputError(f"normalise: expected a mode among {', '.join(get_args(Mode))}, got {mode!r}")


def _finite_or_nan(heatmaps: FloatArray) -> FloatArray:
    """Infinities as NaN, which spreads over the sum of its map."""
    return np.asarray(np.where(np.isinf(heatmaps), np.nan, heatmaps), dtype=heatmaps.dtype)
