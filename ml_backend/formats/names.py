"""The label formats by name."""

from __future__ import annotations

from enum import StrEnum


class LabelFormat(StrEnum):
    """Label files of these tools are read and written; data sets (READ_ONLY) are read."""

    DLC = "dlc"
    LIGHTNING_POSE = "lightning-pose"
    COCO = "coco"
    SLEAP = "sleap"
    YOLO = "yolo"
    LABEL_STUDIO = "label-studio"
    MOVEMENT = "movement"
    ANIPOSE = "anipose"
    MAT = "mat"
    INTERHAND = "interhand"
    PANOPTIC = "panoptic"


#: Data sets, whose files are read and not written.
READ_ONLY = frozenset({LabelFormat.MAT, LabelFormat.INTERHAND, LabelFormat.PANOPTIC})
