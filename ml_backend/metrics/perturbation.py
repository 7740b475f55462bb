"""Test-time perturbations: the same labelled pictures, blurred, too bright, too dark, too near, too far (docs/methods.md §5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from label_config.values import BadInputError, BoolArray, Box, ByteArray, FloatArray

BLUR_KERNEL = 5


@dataclass(frozen=True)
class Perturbation:
    """A change of light or sharpness in place, or of size about the picture's middle.

    zoom  > 1 shows the content larger; the picture keeps its size
    """

    name: str
    photometric: Callable[[ByteArray], ByteArray] | None = None
    zoom: float = 1.0

    def picture(self, image: ByteArray) -> ByteArray:
        """uint8 (h, w, 3) → the changed picture of the same size; black where zooming out shows more than there is."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise BadInputError(f"perturbation {self.name}: expected a picture uint8 (h, w, 3), got {image.dtype} {image.shape}")
        if self.photometric is not None:
            image = self.photometric(image)
        if self.zoom == 1.0:
            return image
        height, width = image.shape[:2]
        if self.zoom < 1:  # against aliasing
            image = cv2.GaussianBlur(image, (0, 0), 0.4 / self.zoom).astype(np.uint8, copy=False)
        matrix = _zoom(self.zoom, (width, height))
        return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR), dtype=np.uint8)

    def points(self, xy_px: FloatArray, size_px: tuple[int, int]) -> FloatArray:
        """Points (..., 2) of the picture of this (width, height) → of the changed one; NaN where they leave it."""
        moved = _apply(_zoom(self.zoom, size_px), xy_px)
        inside: BoolArray = np.asarray(((moved >= -0.5) & (moved <= np.array(size_px) - 0.5)).all(axis=-1))
        return np.where(inside[..., None], moved, np.nan)

    def box(self, box_px: Box, size_px: tuple[int, int]) -> Box:
        """A box in the picture of this (width, height) → in the changed one, which it may leave."""
        x, y, width, height = box_px
        left, top = _apply(_zoom(self.zoom, size_px), np.array([x - 0.5, y - 0.5])) + 0.5
        return float(left), float(top), width * self.zoom, height * self.zoom

    def back(self, xy_px: FloatArray, size_px: tuple[int, int]) -> FloatArray:
        """Points (..., 2) of the changed picture → of the original, wherever they are."""
        return _apply(_zoom(1 / self.zoom, size_px), xy_px)


def _zoom(factor: float, size_px: tuple[int, int]) -> FloatArray:
    """(2, 3) enlargement about the middle of the picture."""
    middle = (np.array(size_px) - 1) / 2
    return np.column_stack([factor * np.eye(2), (1 - factor) * middle])


def _apply(matrix: FloatArray, xy: FloatArray) -> FloatArray:
    return np.asarray(xy @ matrix[:, :2].T + matrix[:, 2])


def blurred(image: ByteArray) -> ByteArray:
    """Mean over 5 × 5 pixels."""
    return np.asarray(cv2.blur(image, (BLUR_KERNEL, BLUR_KERNEL)), dtype=np.uint8)


def brightness(factor: float) -> Callable[[ByteArray], ByteArray]:
    """Every value times ``factor``, cut at 255."""
    table = np.clip(np.round(factor * np.arange(256)), 0, 255).astype(np.uint8)
    return lambda image: np.asarray(table[image])


#: Kaplan et al. (2021): blur k = 5, brightness 1.3 and 0.7, scale 1.4 and 0.6; the first one changes nothing.
CLEAN = Perturbation("clean")
PERTURBATIONS = (
    CLEAN,
    Perturbation("blur", blurred),
    Perturbation("bright", brightness(1.3)),
    Perturbation("dark", brightness(0.7)),
    Perturbation("zoom in", zoom=1.4),
    Perturbation("zoom out", zoom=0.6),
)
