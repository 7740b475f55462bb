"""The snapshot of this moment: labels that count, merged over people, completed by geometry, and pseudo-labels in force."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from label_config.values import DEFAULT_SUBJECT, FloatArray, IntArray, PointState, Pose2D, Provenance
from ml_backend.geometry.cameras import Rig
from ml_backend.labels.completion import complete, overlooked
from ml_backend.labels.merge import Annotation, merge_annotations
from ml_backend.labels.snapshot import Snapshot
from ml_backend.project.round_state import RoundState
from ml_backend.store.frames import FrameRow
from ml_backend.store.pseudo_labels import PseudoRow
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.workspace import Workspace


def rigs_of(workspace: Workspace) -> dict[str, Rig]:
    """Sequence → its rig, cameras in the order of the project's views; sequences without calibration are left out."""
    return dict(RoundState(workspace).rigs)


def unit_of(workspace: Workspace) -> str:
    """The unit of lengths in 3-D; all rigs of a project share it.  "" without a calibration."""
    return next((rig.unit for rig in rigs_of(workspace).values()), "")


def collect(workspace: Workspace) -> Snapshot:
    """Everything that people say at this moment; frames in which they labelled too many subjects are left out."""
    return collect_labels(RoundState(workspace))


def collect_labels(now: RoundState) -> Snapshot:
    """:func:`collect` from what was read already."""
    labels = now.annotations
    poses = _merge(now)
    said = sorted(poses, key=lambda place: (now.frames[place[0]].key, place[1]))
    rows = [now.frames[frame_id] for frame_id, _ in said]
    shape = (len(now.views), len(now.binding.skeleton))
    stacked = [poses[place] for place in said]
    subjects = np.array([subject for _, subject in said], dtype=np.int64)
    xy = np.stack([pose.xy_px for pose in stacked]) if stacked else np.zeros((0, *shape, 2))
    state = np.stack([pose.state for pose in stacked]) if stacked else np.zeros((0, *shape), dtype=np.int64)
    provenance = np.stack([pose.provenance for pose in stacked]) if stacked else np.zeros((0, *shape), dtype=np.int64)
    xyz = _complete_by_geometry(now, rows, xy, state, provenance)
    used = {row.id for row in rows}
    pseudo = [row for row in pseudo_in_force(now) if row.frame_id not in used]
    return Snapshot(
        frame_ids=np.array([row.id for row in rows], dtype=np.int64),
        keys=tuple(row.key for row in rows),
        split=np.array([row.split for row in rows], dtype="<U8"),
        annotations=tuple(sorted((row.ls_annotation_id, row.updated_at) for row in labels)),
        xy_px=xy,
        state=state,
        provenance=provenance,
        xyz_world=xyz,
        pseudo_ids=np.array([row.frame_id for row in pseudo], dtype=np.int64),
        pseudo_xy_px=np.stack([Pose2D.from_json(row.pose).xy_px for row in pseudo]) if pseudo else np.zeros((0, *shape, 2)),
        pseudo_weight=np.array([row.weight for row in pseudo], dtype=np.float64),
        box_px=known_boxes(now, rows, labels, subjects.tolist()),
        pseudo_box_px=known_boxes(now, [now.frames[row.frame_id] for row in pseudo], subjects=[row.subject for row in pseudo]),
        subjects=subjects,
        pseudo_subjects=np.array([row.subject for row in pseudo], dtype=np.int64),
    )


def pseudo_in_force(now: RoundState) -> list[PseudoRow]:
    """The newest pseudo-labels, unless they are switched off or the live model was trained on them (docs/methods.md §1.6).

    None where people labelled more subjects than the project has: points of two subjects may agree on a place where nobody is.
    """
    if not now.spec.pseudo_labels.enabled or now.of_several:
        return []
    last = -1 if now.live_snapshot is None else now.live_snapshot.round
    return [row for row in now.pseudo_labels if row.round > last]


def known_boxes(
    now: RoundState, rows: Sequence[FrameRow], labels: Sequence[AnnotationRow] = (), subjects: Sequence[int] = ()
) -> FloatArray:
    """(m, V, 4) the subjects' boxes from task data, as the newest of ``labels`` corrected them; NaN where the data has none.

    subjects  (m,) whose; () = subject 0 everywhere

    A box that was drawn where the data has none is not used: prediction will read other pictures of that kind as a whole,
    and a network must be trained on what it will see.  Of several subjects it is used: nothing is predicted without a box.
    """
    views = now.views
    boxes = np.full((len(rows), len(views), 4), np.nan)
    whose = list(subjects) or [DEFAULT_SUBJECT] * len(rows)
    for i, row in enumerate(rows):
        for v, view in enumerate(views):
            boxes[i, v] = row.box(view, subject=whose[i]) or np.nan
    given = np.isfinite(boxes).all(axis=-1) | (now.spec.subjects.max > 1)
    position = {(row.id, subject): i for i, (row, subject) in enumerate(zip(rows, whose, strict=True))}
    there = {row.id for row in rows}
    drawn = [row for row in labels if row.boxes and row.frame_id in there]
    views_of = _task_views(now) if drawn else {}
    for label in sorted(drawn, key=lambda row: datetime.fromisoformat(row.updated_at)):
        shown = views_of.get(label.task_id) or views
        for subject, of_subject in (label.boxes or {}).items():
            place = position.get((label.frame_id, int(subject)))
            names = views if len(of_subject) == len(views) else shown
            for view, box in zip(names, of_subject, strict=False):
                v = views.index(view)
                if box is not None and place is not None and given[place, v]:
                    boxes[place, v] = box
    return boxes


def _task_views(now: RoundState) -> dict[int, tuple[str, ...] | None]:
    """Task row → the views that it shows, None = all."""
    return {task.id: task.views for task in now.tasks}


def _merge(now: RoundState) -> dict[tuple[int, int], Pose2D]:
    """(frame id, subject) → what all annotations of all its tasks say together; where nobody said anything is left out."""
    views_of = _task_views(now)
    by_task: dict[int, list[AnnotationRow]] = defaultdict(list)
    for row in now.annotations:
        if row.frame_id not in now.of_several:
            by_task[row.task_id].append(row)
    poses: dict[tuple[int, int], Pose2D] = {}
    most = now.spec.subjects.max
    for task_id, rows in by_task.items():
        merged = merge_annotations([as_annotation(row) for row in rows])
        views = views_of.get(task_id)
        for subject, pose in {} if merged is None else merged.poses.items():
            if most == 1 and subject != DEFAULT_SUBJECT:
                continue
            if len(pose.state) < len(now.views) and views:
                pose = pose.in_views(len(now.views), now.views.index(views[0]))
            place = (rows[0].frame_id, subject)
            poses[place] = _joined(poses[place], pose) if place in poses else pose
    return poses


def as_annotation(row: AnnotationRow) -> Annotation:
    """What a row of the store says, for merging and comparing."""
    return Annotation(
        id=row.ls_annotation_id,
        updated_at=datetime.fromisoformat(row.updated_at),
        person=row.person,
        poses={int(subject): Pose2D.from_json(pose) for subject, pose in row.poses.items()},
        cancelled=row.cancelled,
        ground_truth=row.ground_truth,
    )


def _joined(first: Pose2D, second: Pose2D) -> Pose2D:
    """Two tasks of one frame, each with its own camera's picture."""
    said = second.state != PointState.UNLABELLED
    return Pose2D(
        xy_px=np.where(said[..., None], second.xy_px, first.xy_px),
        confidence=np.where(said, second.confidence, first.confidence),
        state=np.where(said, second.state, first.state),
        provenance=np.where(said, second.provenance, first.provenance),
    )


def _complete_by_geometry(
    now: RoundState, rows: Sequence[FrameRow], xy: FloatArray, state: IntArray, provenance: IntArray
) -> FloatArray:
    """(m, K, 3) triangulated labels; fills in place what nobody labelled or what was overlooked, where labels agree."""
    xyz = np.full((len(rows), xy.shape[2] if xy.ndim == 4 else 0, 3), np.nan)
    sequences = np.array([row.key.sequence for row in rows])
    limit = now.spec.pseudo_labels.threshold_px
    for name, rig in now.rigs.items():
        of = np.flatnonzero(sequences == name)
        if not len(of):
            continue
        given = np.isin(state[of], (PointState.VISIBLE, PointState.OCCLUDED))
        placed, accepted = (given & (provenance[of] == kind) for kind in (Provenance.PLACED, Provenance.ACCEPTED))
        missed = overlooked(rig, xy[of], placed, accepted, limit)
        pictured = np.array([[view in row.images for view in now.views] for row in rows])[of]
        wanted = ((state[of] == PointState.UNLABELLED) & pictured[..., None]) | missed
        completed = complete(rig, xy[of], given & ~missed, wanted, limit)
        xyz[of], xy[of] = completed.xyz_world, completed.xy_px
        state[of] = np.where(completed.filled, PointState.VISIBLE, state[of])
        provenance[of] = np.where(completed.filled, Provenance.GEOMETRY, provenance[of])
    return xyz
