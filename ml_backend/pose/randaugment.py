"""RandAugment (Cubuk et al. 2020), restricted to operations that leave every keypoint where it is.

Moves of the picture belong to the crop's one affine map (see ``augment``): an independent shear or rotation here
would put pictures and points, or several views of one frame, at odds.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from label_config.values import ByteArray, FloatArray

#: Magnitudes run from 0 (nothing) to this.
MAX_MAGNITUDE = 10.0

Operation = Callable[[ByteArray, float, float], ByteArray]


def rand_augment(image: ByteArray, n_operations: int, magnitude: float, rng: np.random.Generator) -> ByteArray:
    """Apply ``n_operations`` random operations at ``magnitude`` (0..10) to uint8 (h, w, 3)."""
    strength = float(np.clip(magnitude / MAX_MAGNITUDE, 0, 1))
    names = list(OPERATIONS)
    for position in rng.integers(len(names), size=n_operations):
        sign = 1.0 if rng.random() < 0.5 else -1.0
        image = OPERATIONS[names[position]](image, strength, sign)
    return image


def _blend(base: FloatArray, image: ByteArray, factor: float) -> ByteArray:
    mixed = base + factor * (image.astype(np.float64) - base)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _gray(image: ByteArray) -> FloatArray:
    return np.asarray(image.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))


def _brightness(image: ByteArray, strength: float, sign: float) -> ByteArray:
    return _blend(np.zeros(1), image, 1 + sign * 0.9 * strength)


def _contrast(image: ByteArray, strength: float, sign: float) -> ByteArray:
    return _blend(np.full(1, _gray(image).mean()), image, 1 + sign * 0.9 * strength)


def _colour(image: ByteArray, strength: float, sign: float) -> ByteArray:
    return _blend(_gray(image)[..., None], image, 1 + sign * 0.9 * strength)


def _sharpness(image: ByteArray, strength: float, sign: float) -> ByteArray:
    return _blend(cv2.GaussianBlur(image, (3, 3), 0).astype(np.float64), image, 1 + sign * 0.9 * strength)


def _autocontrast(image: ByteArray, strength: float, sign: float) -> ByteArray:
    if strength == 0:
        return image
    low, high = image.min(axis=(0, 1)).astype(np.float64), image.max(axis=(0, 1)).astype(np.float64)
    span = np.where(high > low, high - low, 255.0)
    stretched = (image - np.where(high > low, low, 0.0)) * 255.0 / span
    return np.asarray(np.clip(stretched + 0.5, 0, 255), dtype=np.uint8)


def _equalize(image: ByteArray, strength: float, sign: float) -> ByteArray:
    if strength == 0:
        return image
    return np.asarray(
        np.stack([cv2.equalizeHist(np.ascontiguousarray(image[..., c])) for c in range(3)], axis=-1), dtype=np.uint8
    )


def _posterize(image: ByteArray, strength: float, sign: float) -> ByteArray:
    lost_bits = round(4 * strength)
    return np.asarray(image & np.uint8(256 - (1 << lost_bits)))


def _solarize(image: ByteArray, strength: float, sign: float) -> ByteArray:
    threshold = 256 * (1 - strength)
    return np.asarray(np.where(image >= threshold, 255 - image, image), dtype=np.uint8)


OPERATIONS: dict[str, Operation] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "colour": _colour,
    "sharpness": _sharpness,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "posterize": _posterize,
    "solarize": _solarize,
}
