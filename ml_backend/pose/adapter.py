"""The interface of a pose model in the loop.

The built-in Predictor is one; a model of one's own is another (see docs/models.md).  No torch is needed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from label_config.values import Box, ByteArray
from label_config.values.prediction import Output, Prediction

__all__ = ["PoseModel"]


@runtime_checkable
class PoseModel(Protocol):
    """A model that predicts the keypoints of the project's skeleton."""

    outputs: frozenset[Output]  #: what it can predict besides points and their confidence
    keypoints: tuple[str, ...]  #: names in the order of the K axis

    def predict(
        self, images: Sequence[ByteArray], boxes_px: Sequence[Box | None] | None = None, *, heatmaps: bool = False
    ) -> Prediction:
        """Predict one subject per picture; the batch axis is the picture.

        images    uint8 (h, w, 3) RGB of any sizes
        boxes_px  (x, y, width, height) where the subject is, None where that is not known
        heatmaps  add ``Output.HEATMAPS``
        """
        ...
