"""Random changes of a training crop that its keypoints follow.

Geometry is drawn as arguments of a CropTransform, so that picture and points go through one and the same map;
photometry changes pixel values only.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from label_config.values import ByteArray
from ml_backend.pose.config import AugmentConfig
from ml_backend.pose.randaugment import rand_augment


class Geometry(NamedTuple):
    """Arguments of a CropTransform."""

    rotation_deg: float
    scale: float
    shift: tuple[float, float]
    flip: bool


def draw_geometry(config: AugmentConfig, flip_allowed: bool, rng: np.random.Generator) -> Geometry:
    """A random rotation, size, shift and, where a mirrored picture is still valid, mirroring."""
    return Geometry(
        rotation_deg=float(rng.uniform(-config.rotation_deg, config.rotation_deg)),
        scale=float(rng.uniform(1 - config.scale, 1 + config.scale)),
        shift=(float(rng.uniform(-config.shift, config.shift)), float(rng.uniform(-config.shift, config.shift))),
        flip=bool(rng.random() < config.flip) and flip_allowed,
    )


def headroom(config: AugmentConfig) -> float:
    """How much larger than the crop a region must be so that most augmented crops stay inside it."""
    angle = np.deg2rad(min(config.rotation_deg, 45.0))
    return float(min((np.cos(angle) + np.sin(angle)) / (1 - min(config.scale, 0.5)) + 2 * config.shift, 1.75))


def photometric(crop: ByteArray, config: AugmentConfig, rng: np.random.Generator) -> ByteArray:
    """Random brightness, contrast and noise, then RandAugment where asked for.  uint8 (h, w, 3) in and out."""
    contrast = rng.uniform(1 - config.contrast, 1 + config.contrast)
    brightness = rng.uniform(1 - config.brightness, 1 + config.brightness)
    if config.contrast or config.brightness:
        levels = (np.arange(256.0) - 128) * contrast + 128
        table = np.clip(levels * brightness, 0, 255).astype(np.uint8)
        crop = np.asarray(cv2.LUT(crop, table), dtype=np.uint8)
    if config.noise:
        noise = rng.normal(0, config.noise * rng.random(), crop.shape)
        crop = np.clip(crop + noise, 0, 255).astype(np.uint8)
    if config.randaugment is not None:
        crop = rand_augment(crop, *config.randaugment, rng)
    return crop
