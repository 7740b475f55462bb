"""A picture in a few numbers: enough to tell one posture or place from another, with no network and no download."""

from __future__ import annotations

import cv2
import numpy as np

from label_config.values import ByteArray, Float32Array

#: Side of the thumbnail that stands for a picture.
THUMBNAIL = 12


def thumbnail(picture: ByteArray) -> Float32Array:
    """(D,) grey values in 0..1, their mean removed, of a picture (h, w, 3) RGB."""
    grey = cv2.cvtColor(cv2.resize(picture, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    flat = grey.astype(np.float32).ravel() / 255.0
    return np.asarray(flat - flat.mean(), dtype=np.float32)
