"""The boxes of several subjects as annotators are shown them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from label_config.values import FloatArray
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import PickRow

#: Beside the points of a subject in ``PickRow.poses``: view → the box that they were predicted in, where geometry numbered it.
BOXES = "boxes"


def shown_boxes(pick: PickRow, frame: FrameRow, views: Sequence[str], most: int) -> dict[int, FloatArray]:
    """Subject → (V, 4) boxes in the frame of the points that are shown of several subjects; {} in a project of one.

    Those that the points of the pick were predicted in, else those of the frame now: numbers found by geometry may have changed.
    """
    if most == 1:
        return {}
    kept = {int(subject): pose[BOXES] for subject, pose in pick.poses.items() if BOXES in pose}
    if kept:
        frame = replace(frame, boxes={subject: {view: tuple(box) for view, box in of.items()} for subject, of in kept.items()})
    else:
        frame = frame.as_listed()
    return frame.boxes_around_points(views, most if not frame.unnumbered or kept else len(frame.unnumbered))
