"""The points that an annotator starts from: the network's, or the place where all cameras together see the keypoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import DEFAULT_SUBJECT, BoolArray, FloatArray, Pose2D, Provenance, Triangulation
from label_config.values.prediction import predicted_pose
from ml_backend.geometry.consistency import agreed_place
from ml_backend.jobs.scoring import triangulation_of
from ml_backend.labels.snapshot import Snapshot
from ml_backend.project.round_state import RoundState
from ml_backend.project.subject_rows import LEAST_SURE, arrays_of_subject
from ml_backend.store.frames import FrameRow
from ml_backend.store.shown_boxes import BOXES

#: Fewer labels of a camera that were made without pre-annotations say nothing about which of the two is nearer.
ENOUGH_LABELS = 20

Arrays = Mapping[str, npt.NDArray[Any]]
#: Subject → Pose2D as JSON.
Poses = dict[str, Any]


def poses_to_show(state: RoundState, snapshot: Snapshot, rows: Sequence[FrameRow], arrays: Arrays) -> list[Poses]:
    """What an annotator is shown in each row, as ``PickRow.poses``: :func:`points_to_show` of every subject."""
    if LEAST_SURE not in arrays:
        return [{str(DEFAULT_SUBJECT): pose.to_json()} for pose in points_to_show(state, snapshot, rows, arrays)]
    shown: list[Poses] = [{} for _ in rows]
    for subject in range(state.spec.subjects.max):
        poses = points_to_show(state, snapshot.of_subject(subject), rows, arrays_of_subject(arrays, subject))
        for of_frame, row, pose in zip(shown, rows, poses, strict=True):
            if row.boxes.get(subject):
                of_frame[str(subject)] = pose.to_json() | ({BOXES: row.boxes[subject]} if row.matched else {})
    return shown


def points_to_show(state: RoundState, snapshot: Snapshot, rows: Sequence[FrameRow], arrays: Arrays) -> list[Pose2D]:
    """One pose per row; ``arrays`` is what the live model said of them.

    A point that contradicts three agreeing views moves to their place.  All other points do so, camera by camera, once labels
    that were made without pre-annotations lie nearer to that place than to the network's points: triangulation averages the
    errors of the views, unless the calibration of a camera is off.
    """
    xy = arrays["xy_px"].copy()
    found = triangulation_of(arrays)
    if found is not None:
        agreed = _agreed(state, rows, found)
        better = nearer_to_labels(xy, agreed, _labels_without_points(rows, snapshot))
        there = np.isfinite(agreed).all(axis=-1) & (~found.inlier | better[:, None])
        xy = np.where(there[..., None], agreed, xy)
    return [predicted_pose(points, sure) for points, sure in zip(xy, arrays["confidence"], strict=True)]


def _agreed(state: RoundState, rows: Sequence[FrameRow], found: Triangulation) -> FloatArray:
    """(f, V, K, 2) see :func:`agreed_place`; NaN for frames of recordings without a calibration."""
    agreed = np.full((*found.reprojection_px.shape, 2), np.nan)
    for name, rig in state.rigs.items():
        of: BoolArray = np.array([row.key.sequence == name for row in rows], dtype=np.bool_)
        agreed[of] = agreed_place(rig, Triangulation(**{field: array[of] for field, array in vars(found).items()}))
    return agreed


def _labels_without_points(rows: Sequence[FrameRow], snapshot: Snapshot) -> FloatArray:
    """(f, V, K, 2) labels of validation frames that people labelled without any point shown, NaN elsewhere.

    The model has not learnt from these, and nothing drew the labels to either of the two candidates.
    """
    without_points = (snapshot.split == "val") & ~(snapshot.provenance == Provenance.ACCEPTED).any(axis=(1, 2))
    placed = without_points[:, None, None] & (snapshot.provenance == Provenance.PLACED)
    of = dict(zip(snapshot.frame_ids.tolist(), np.where(placed[..., None], snapshot.xy_px, np.nan), strict=True))
    nothing = np.full(snapshot.xy_px.shape[1:], np.nan)
    return np.stack([of.get(row.id, nothing) for row in rows])


def nearer_to_labels(network: FloatArray, agreed: FloatArray, labels: FloatArray) -> BoolArray:
    """(V,) True for a camera whose labels lie nearer to the agreed place than to the network's points, in the median.

    All arrays (f, V, K, 2) px; points that any of them lacks do not count.  False with fewer than ``ENOUGH_LABELS`` points.
    """
    known: BoolArray = np.asarray(np.isfinite(network + agreed + labels).all(axis=-1))
    better = np.zeros(network.shape[1], dtype=np.bool_)
    for view in np.flatnonzero(known.sum(axis=(0, 2)) >= ENOUGH_LABELS):
        label = labels[:, view][known[:, view]]
        own, common = (np.linalg.norm(place[:, view][known[:, view]] - label, axis=-1) for place in (network, agreed))
        better[view] = np.median(common) < np.median(own)
    return better
