"""What a pose model must offer to take part in the loop.

The built-in Predictor is one; a model of one's own is another (see docs/models.md).  No torch is needed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np

from label_config.values import BadInputError, ByteArray, Float32Array, FloatArray

Box = tuple[float, float, float, float]


class Capability(StrEnum):
    """What a model can tell besides nothing."""

    POINTS = "points"  #: coordinates and confidence; every model
    HEATMAPS = "heatmaps"  #: maps and their peaks
    FEATURES = "features"  #: an embedding of the crop
    LINKS = "links"  #: how long each limb should be
    VARIANCE = "variance"  #: how far off each point should be
    LEARNING_LOSS = "learning_loss"  #: how badly the crop should be predicted


@dataclass(frozen=True)
class PredictionBatch:
    """What a model says about n pictures, one subject each.

    xy_px       (n, K, 2) image pixels, NaN = no prediction
    confidence  (n, K) in [0, 1], 0 without a prediction
    box_px      (n, 4) x, y, width, height of the crop that was looked at, image pixels; may leave the picture
    peak_xy_px  (n, K, M, 2) local maxima of the maps, strongest first, NaN-padded; None without HEATMAPS
    peak_value  (n, K, M) their heights relative to the training amplitude, NaN-padded
    features    (n, D) embedding, None without FEATURES
    heatmaps    (n, K, h, w) at unit training amplitude, None unless asked for
    links       (n, L, 2) expected length of each limb of the model's skeleton, image pixels, and the logarithm of its variance,
                image pixels squared; None without LINKS
    log_variance   (n, K) logarithm of the expected squared error of each point, image pixels squared; None without VARIANCE
    learning_loss  (n,) larger = a worse prediction is expected; only differences mean something; None without LEARNING_LOSS
    """

    xy_px: FloatArray
    confidence: FloatArray
    box_px: FloatArray
    peak_xy_px: FloatArray | None = None
    peak_value: FloatArray | None = None
    features: Float32Array | None = None
    heatmaps: Float32Array | None = None
    links: FloatArray | None = None
    log_variance: FloatArray | None = None
    learning_loss: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.xy_px.ndim != 3 or self.xy_px.shape[2] != 2:
            raise BadInputError(f"PredictionBatch.xy_px: expected shape (n, K, 2), got {self.xy_px.shape}")
        n, keypoints = self.xy_px.shape[:2]
        if self.confidence.shape != (n, keypoints):
            raise BadInputError(f"PredictionBatch.confidence: expected shape {(n, keypoints)}, got {self.confidence.shape}")
        if self.box_px.shape != (n, 4):
            raise BadInputError(f"PredictionBatch.box_px: expected shape {(n, 4)}, got {self.box_px.shape}")


@runtime_checkable
class PoseModel(Protocol):
    """A model that predicts the keypoints of the project's skeleton."""

    capabilities: frozenset[Capability]
    keypoints: tuple[str, ...]  #: names in the order of the K axis

    def predict(
        self, images: Sequence[ByteArray], boxes_px: Sequence[Box | None] | None = None, *, heatmaps: bool = False
    ) -> PredictionBatch:
        """``images`` uint8 (h, w, 3) RGB of any sizes; ``boxes_px`` (x, y, width, height) where the subject is, if known."""
        ...


def by_keypoint_name(batch: PredictionBatch, have: Sequence[str], want: Sequence[str]) -> PredictionBatch:
    """Reorder the K axis from the names ``have`` to the names ``want``; keypoints that the model lacks become NaN, confidence 0.
    Links belong to the limbs of another skeleton and are dropped.

    Names are compared without case, spaces, hyphens and underscores.  Raises BadInputError when no name agrees.
    """
    position = {_plain(name): i for i, name in enumerate(have)}
    source = np.array([position.get(_plain(name), -1) for name in want], dtype=np.int64)
    if (source < 0).all():
        raise BadInputError(
            f"the model's keypoints ({', '.join(have)}) and the skeleton's ({', '.join(want)}) have no name in common"
        )
    missing = source < 0

    def pick(array: FloatArray, empty: float) -> FloatArray:
        picked = array[:, source].copy()
        picked[:, missing] = empty
        return picked

    return PredictionBatch(
        xy_px=pick(batch.xy_px, np.nan),
        confidence=pick(batch.confidence, 0.0),
        box_px=batch.box_px,
        peak_xy_px=None if batch.peak_xy_px is None else pick(batch.peak_xy_px, np.nan),
        peak_value=None if batch.peak_value is None else pick(batch.peak_value, np.nan),
        features=batch.features,
        heatmaps=None if batch.heatmaps is None else pick(batch.heatmaps.astype(np.float64), 0.0).astype(np.float32),
        log_variance=None if batch.log_variance is None else pick(batch.log_variance, np.nan),
        learning_loss=batch.learning_loss,
    )


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in " -_.")
