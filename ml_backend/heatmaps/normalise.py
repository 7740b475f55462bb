"""Heatmap normalisations.  Scores state which one they use, because papers differ silently (METHODS §2.0)."""

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
    """
    if heatmaps.ndim < 2:
        raise BadInputError(f"normalise: expected heatmaps of shape (..., h, w), got {heatmaps.shape}")
    if mode == "raw":
        return heatmaps
    if mode == "softmax":
        scaled = heatmaps / temperature
        power = np.exp(scaled - scaled.max(axis=(-2, -1), keepdims=True))
        return np.asarray(power / power.sum(axis=(-2, -1), keepdims=True))
    positive = np.maximum(heatmaps, 0)
    if mode == "clamp":
        return positive
    if mode == "unit":
        return np.asarray(positive / amplitude)
    if mode == "prob":
        total = positive.sum(axis=(-2, -1), keepdims=True)
        return np.asarray(np.divide(positive, total, out=np.full_like(positive, np.nan), where=total > 0))
    raise BadInputError(f"normalise: expected a mode among {', '.join(get_args(Mode))}, got {mode!r}")
