"""Boxes of which nobody said whose they are: each is predicted by itself, then matched across cameras and followed in time.

Numbers that are found here may change with every model; frames that people labelled keep the numbers of their labels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from label_config.values import Box, FloatArray, IntArray, Pose2D
from label_config.values.masked import masked_mean
from ml_backend.geometry.assignment import best_pairs
from ml_backend.geometry.association import arranged, associate
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.linking import link
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.pose.adapter import PoseModel
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.matched_labels import placed_points
from ml_backend.project.predict_frames import predict_frames
from ml_backend.project.round_state import RoundState
from ml_backend.project.subject_rows import rows_of_subject
from ml_backend.store import frames
from ml_backend.store.frames import BoxNumbers, FrameRow
from ml_backend.store.workspace import Workspace

Boxes = dict[int, dict[str, Box]]


def number_boxes(
    workspace: Workspace,
    model: PoseModel,
    rows: Sequence[FrameRow],
    pictures: Pictures,
    rig: Rig | None,
    *,
    labels: Mapping[int, Mapping[int, FloatArray]],
    kept: Collection[int],
    alive: Callable[[], None] = lambda: None,
) -> list[FrameRow]:
    """The frames with numbers for the boxes that had none; as they are without a calibration.

    rows    frames of one recording, ascending
    labels  frame id → subject → (V, K, 2) points of people, NaN = none
    kept    ids of the frames whose numbers are written down; the others are neighbours of theirs
    """
    todo = [replace(row, boxes=row.unnumbered or row.boxes) for row in rows if row.unnumbered or row.matched]
    if not todo or rig is None:
        return list(rows)
    xy = _predict_each(workspace, model, todo, pictures, alive)
    found = associate(rig, xy)
    subject = np.stack([frame.subject for frame in found])
    together = arranged(xy, subject)
    world = triangulate_robust(rig, together).xyz_world
    tracks = link(together, np.array([row.key.index for row in todo], dtype=np.int64), world)
    number = _few_numbers(tracks, np.isfinite(together).all(axis=-1).any(axis=-1).sum(axis=-1))
    boxes: dict[int, Boxes] = {}
    for i, row in enumerate(todo):
        of_frame = number[i]
        if row.id in labels:
            of_frame = as_labelled(together[i], of_frame, labels[row.id])
        boxes[row.id] = _renumbered(row.boxes, workspace.views, subject[i], of_frame)
    frames.save_boxes(workspace.store, {row: of for row, of in boxes.items() if row in kept}, BoxNumbers.MATCHED)
    return [replace(row, boxes=boxes[row.id], unnumbered={}, matched=True) if row.id in boxes else row for row in rows]


def labelled_points(state: RoundState) -> dict[int, dict[int, FloatArray]]:
    """Frame id → subject → (V, K, 2) points that people placed, NaN = none; of tasks that show all cameras."""
    found: dict[int, dict[int, FloatArray]] = {}
    for annotation in state.annotations:
        poses = {int(subject): Pose2D.from_json(pose) for subject, pose in annotation.poses.items()}
        whole = {subject: pose for subject, pose in poses.items() if len(pose.state) == len(state.views)}
        placed = {subject: placed_points(pose) for subject, pose in whole.items()}
        points = {subject: xy_px for subject, xy_px in placed.items() if np.isfinite(xy_px).any()}
        if points:
            found[annotation.frame_id] = points
    return found


def _predict_each(
    workspace: Workspace, model: PoseModel, rows: Sequence[FrameRow], pictures: Pictures, alive: Callable[[], None]
) -> FloatArray:
    """(f, S, V, K, 2) the points in every box, by its place in the list of its camera."""
    position = {row.id: i for i, row in enumerate(rows)}
    places = 1 + max(place for row in rows for place in row.boxes)
    xy = np.full((len(rows), places, len(workspace.views), len(workspace.binding.skeleton), 2), np.nan)
    for place in range(places):
        shown = rows_of_subject(rows, place)
        if shown:
            xy[[position[row.id] for row in shown], place] = predict_frames(workspace, model, shown, pictures, alive=alive).xy_px
    return xy


def _few_numbers(tracks: IntArray, views: IntArray) -> IntArray:
    """(f, S) tracks, numbered ever higher, and the views of each → (f, S) numbers from 0 that tracks take over from ended ones.

    A track keeps its number while it lasts; new ones take the lowest that are free in the frame, those with most views first.
    """
    number = np.full(tracks.shape, -1, dtype=np.int64)
    of_track: dict[int, int] = {}
    for i in range(len(tracks)):
        present = [int(s) for s in np.lexsort((np.arange(tracks.shape[1]), -views[i])) if tracks[i, s] >= 0]
        taken: set[int] = set()
        for known in (True, False):
            for s in present:
                track = int(tracks[i, s])
                if number[i, s] >= 0 or (known and of_track.get(track) in (None, *taken)):
                    continue
                if not known:
                    of_track[track] = next(n for n in range(len(present) + 1) if n not in taken)
                number[i, s] = of_track[track]
                taken.add(of_track[track])
    return number


def as_labelled(points: FloatArray, number: IntArray, labels: Mapping[int, FloatArray]) -> IntArray:
    """(S,) the numbers of subjects with points (S, V, K, 2), changed to those of the labels that lie nearest."""
    subjects = sorted(labels)
    there = np.flatnonzero(number >= 0)
    apart = np.stack([np.linalg.norm(points[there] - labels[subject], axis=-1) for subject in subjects])
    mean, _ = masked_mean(apart, axis=(2, 3))
    changed = np.full(len(number), -1, dtype=np.int64)
    for label, one in best_pairs(-np.nan_to_num(mean, nan=1e6)):
        changed[there[one]] = subjects[label]
    free = iter(n for n in range(len(number) + max(subjects) + 1) if n not in changed)
    for s in there[np.argsort(number[there])].tolist():
        if changed[s] < 0:
            changed[s] = next(free)
    return changed


def _renumbered(boxes: Mapping[int, Mapping[str, Box]], views: Sequence[str], subject: IntArray, number: IntArray) -> Boxes:
    """The boxes under their new numbers; one in which nothing was predicted comes after all others."""
    after: Boxes = {}
    left = 1 + int(number.max(initial=-1))
    for place, of_place in boxes.items():
        for view, box in of_place.items():
            cluster = int(subject[place, views.index(view)])
            after.setdefault(int(number[cluster]) if cluster >= 0 else left + place, {})[view] = box
    return dict(sorted(after.items()))
