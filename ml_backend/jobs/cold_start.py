"""The first order, before there is a model: spread over the recordings, by look where pictures are at hand."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from label_config.values import ByteArray, Float32Array
from ml_backend.jobs.pictures import Pictures
from ml_backend.recordings import UnreadableImageError
from ml_backend.store.frames import FrameRow
from ml_backend.store.workspace import Workspace

#: Side of the thumbnail that stands for a picture.
THUMBNAIL = 12
#: Frames whose pictures are looked at; of a larger pool every n-th.
LOOKED_AT = 400


def thumbnails(workspace: Workspace, rows: Sequence[FrameRow], pictures: Pictures) -> Float32Array:
    """(f, D) small grey pictures of all views, mean removed per frame; NaN rows for frames that were not looked at.

    No network and no download: enough to tell one posture or place from another, which is all that a first order needs.
    """
    side = len(workspace.views) * THUMBNAIL**2
    features = np.full((len(rows), side), np.nan, dtype=np.float32)
    stride = max(1, len(rows) // LOOKED_AT)
    slots = [
        (f, v, rows[f].images[view])
        for f in range(0, len(rows), stride)
        for v, view in enumerate(workspace.views)
        if view in rows[f].images
    ]
    for f in range(0, len(rows), stride):
        features[f] = 0.0
    for position, picture in pictures.stream([ref for *_, ref in slots]):
        f, v, _ = slots[position]
        if not isinstance(picture, UnreadableImageError):
            start = v * THUMBNAIL**2
            features[f, start : start + THUMBNAIL**2] = _thumbnail(picture)
    return features


def _thumbnail(picture: ByteArray) -> Float32Array:
    grey = cv2.cvtColor(cv2.resize(picture, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    flat = grey.astype(np.float32).ravel() / 255.0
    return np.asarray(flat - flat.mean(), dtype=np.float32)
