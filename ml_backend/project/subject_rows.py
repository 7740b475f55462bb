"""Frames with several subjects → one row for each subject, which reads like a frame that shows that subject alone.

What works on frames (prediction, scores, targets, errors) works on these rows one by one; only what is put together again
(:func:`join_subjects`) knows that they belong to one frame.  In a project of one subject the rows are the frames themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import DEFAULT_SUBJECT, Box, FloatArray, IntArray
from label_config.values.masked import masked_mean
from ml_backend.acquisition.combining import Combine, combined, strongest
from ml_backend.labels.snapshot import Snapshot, box_or_none
from ml_backend.project.round_state import RoundState
from ml_backend.store.frames import FrameRow

Arrays = dict[str, npt.NDArray[Any]]
#: In front of the names of arrays (m, S, ...) that hold every subject; without it an array (m, ...) stands for the frame.
OF_SUBJECTS = "subjects."
#: (m,) the subject whose arrays stand for the frame: the one that the network is least sure of; -1 = none is known there.
LEAST_SURE = "least_sure"
#: In front of the name of a score: (m,) the subject for which it is highest; -1 = it says nothing there.
STRONGEST = "strongest."
_EVERY_SUBJECT = frozenset(
    ("xy_px", "confidence", "features", "xyz_world", "inlier", "reprojection_px", "angle_deg", "consensus", "covariance")
)


def row_of(frame: FrameRow, subject: int) -> FrameRow:
    """The frame as it shows one subject: its boxes alone, in the views where it has one."""
    boxes = frame.boxes.get(subject, {})
    images = {view: ref for view, ref in frame.images.items() if view in boxes}
    return replace(frame, images=images, boxes={DEFAULT_SUBJECT: boxes})


def subjects_of(frames: Sequence[FrameRow], most: int) -> list[int]:
    """The numbers below ``most`` of all subjects that have a box somewhere, ascending."""
    return sorted({subject for frame in frames for subject, boxes in frame.boxes.items() if boxes and subject < most})


def rows_of_subject(frames: Sequence[FrameRow], subject: int) -> list[FrameRow]:
    """The frames in which the subject has a box, as they show it."""
    return [row_of(frame, subject) for frame in frames if frame.boxes.get(subject)]


def labelled_rows(now: RoundState, snapshot: Snapshot, rows: IntArray) -> list[FrameRow]:
    """What the network is given to predict the labels at these positions of a snapshot."""
    frames = [now.frames[frame_id] for frame_id in snapshot.frame_ids[rows].tolist()]
    if now.spec.subjects.max == 1:
        return frames
    return [
        row_of(replace(frame, boxes={subject: boxes_by_view(now.views, box_px)}), subject)
        for frame, subject, box_px in zip(frames, snapshot.subjects[rows].tolist(), snapshot.box_px[rows], strict=True)
    ]


def boxes_by_view(views: Sequence[str], box_px: FloatArray) -> dict[str, Box]:
    """(V, 4) boxes, NaN = none → view → box."""
    return {view: box for view, of in zip(views, box_px, strict=True) if (box := box_or_none(of)) is not None}


def join_subjects(
    parts: Mapping[int, Arrays], frames: Sequence[FrameRow], most: int, empty: Arrays, combine: Combine = "mean"
) -> Arrays:
    """Arrays of single subjects, one row for each of their frames → arrays with one row for each of ``frames``.

    parts  subject → arrays with the ids of their frames under "frame_ids"
    empty  name → (...) what stands where nobody is, for arrays that must be there

    A score of the frame is ``combine`` of those of its subjects, its number of terms the sum, its points are those of the subject
    for which it is highest.  Everything else is that of the subject which the network is least sure of.
    """
    ids = np.array([frame.id for frame in frames], dtype=np.int64)
    place = {frame_id: i for i, frame_id in enumerate(ids.tolist())}
    samples = {name: array[0] for part in parts.values() for name, array in part.items() if len(array)}
    samples = {**empty, **{name: sample for name, sample in samples.items() if name != "frame_ids"}}
    every: Arrays = {}
    for name, sample in samples.items():
        missing = np.nan if np.issubdtype(sample.dtype, np.floating) else 0
        every[name] = np.full((len(ids), most, *sample.shape), missing, dtype=sample.dtype)
        for subject, part in parts.items():
            if name in part:
                at = [place[frame_id] for frame_id in part["frame_ids"].tolist()]
                every[name][at, subject] = part[name]
    sure, _ = masked_mean(every["confidence"], axis=(2, 3))
    known = np.isfinite(sure)
    least = np.where(known, sure, np.inf).argmin(axis=1)
    joined: Arrays = {"frame_ids": ids, "index": np.array([frame.key.index for frame in frames], dtype=np.int64)}
    frame = np.arange(len(ids))
    for name, array in every.items():
        kind, _, score = name.partition(".")
        if kind == "raw":
            joined[name], joined[STRONGEST + score] = combined(array, combine), strongest(array)
        elif kind == "support":
            joined[name] = array.sum(axis=1)
        elif kind == "point":
            whose = strongest(every[f"raw.{score}"])
            joined[name] = array[frame, np.where(whose < 0, least, whose)]
        elif name != "index":
            joined[name] = array[frame, least]
        if name in _EVERY_SUBJECT:
            joined[OF_SUBJECTS + name] = array
    joined[LEAST_SURE] = np.where(known.any(axis=1), least, -1)
    return joined


def arrays_of_subject(arrays: Mapping[str, npt.NDArray[Any]], subject: int) -> Arrays:
    """The arrays of one subject out of those that :func:`join_subjects` made; the frames' own in a project of one subject."""
    if LEAST_SURE not in arrays:
        return dict(arrays)
    return {name.removeprefix(OF_SUBJECTS): array[:, subject] for name, array in arrays.items() if name.startswith(OF_SUBJECTS)}
