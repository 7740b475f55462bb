"""The crops in which a network would predict the pictures that it was trained on."""

from __future__ import annotations

import numpy as np

from label_config.values import FloatArray
from ml_backend.heatmaps.crops import padded_box
from ml_backend.labels.snapshot import Snapshot, box_or_none
from ml_backend.pose.dataset import BOX_MARGIN, subject_box, whole_picture
from ml_backend.pose.weights import Manifest


def crops_of(snapshot: Snapshot, manifest: Manifest, size_px: FloatArray) -> FloatArray:
    """(m, V, 4) x, y, width, height for each labelled picture, as ``Prediction.box_px``; NaN where neither box nor size is known.

    size_px  (V, 2) width and height of the pictures of each view
    """
    input_px = manifest.config.input_px
    crops = np.full(snapshot.box_px.shape, np.nan)
    for i, v in np.ndindex(*crops.shape[:2]):
        box = box_or_none(snapshot.box_px[i, v])
        if box is None and manifest.two_stage:
            box = subject_box(snapshot.xy_px[i, v], manifest.subject_px)
        if box is not None:
            crops[i, v] = padded_box(box, input_px[0] / input_px[1], BOX_MARGIN)
        elif np.isfinite(size_px[v]).all():
            crops[i, v] = whole_picture((int(size_px[v, 0]), int(size_px[v, 1])), input_px)
    return crops
