"""Predictions and chunks for tests, with defaults for what a test does not care about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import FloatArray
from label_config.values.prediction import Output, Prediction
from ml_backend.acquisition.score import Chunk

Outputs = Mapping[Output, npt.NDArray[Any]]


def peaks(xy_px: FloatArray, value: FloatArray) -> FloatArray:
    """(..., K, M, 2) and (..., K, M) as ``Output.PEAKS``."""
    return np.concatenate([xy_px, value[..., None]], axis=-1)


def predicted(xy_px: FloatArray, confidence: FloatArray | None = None, outputs: Outputs | None = None, **more: Any) -> Prediction:
    """Points of confidence 1 in whole pictures."""
    sure = np.ones(xy_px.shape[:-1]) if confidence is None else confidence
    box = more.pop("box_px", np.full((*xy_px.shape[:-2], 4), np.nan))
    return Prediction(xy_px, sure, box, outputs or {}, **more)


def changed(chunk: Chunk, outputs: Outputs | None = None, **arrays: Any) -> Chunk:
    """A chunk with other predictions; ``outputs`` replace those of the same name."""
    together = {**chunk.outputs, **(outputs or {})}
    return replace(chunk, prediction=replace(chunk.prediction, outputs=together, **arrays))
