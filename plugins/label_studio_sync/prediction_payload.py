"""What annotators are shown: an order of picks → predictions with rank-coded scores, points and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from label_config.labelling import regions
from label_config.labelling.binding import Binding
from label_config.values import DEFAULT_SUBJECT, PointState, Pose2D, Provenance
from ml_backend.store import tasks
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import Generation, PickRow
from ml_backend.store.shown_boxes import shown_boxes
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace


def predictions_of(
    workspace: Workspace, generation: Generation, picks: Sequence[PickRow], frames: Mapping[int, FrameRow]
) -> list[dict[str, Any]]:
    """One prediction for every open task of the window, in order; the tasks of one frame follow one another."""
    by_frame: dict[int, list[TaskRow]] = {}
    for task in tasks.list_tasks(workspace.store):
        by_frame.setdefault(task.frame_id, []).append(task)
    shown = [(pick, task) for pick in picks for task in by_frame.get(pick.frame_id, []) if not task.is_labeled]
    binding_of = cache(workspace.binding_of)
    return [
        {
            "task": task.ls_task_id,
            "model_version": generation.name,
            # Rank-coded in [0, 1): 0 is labelled next, whatever the scores were.
            "score": position / (len(shown) + 1),
            "result": _result(workspace, generation.number, pick, binding_of(task.views), frames[pick.frame_id]),
        }
        for position, (pick, task) in enumerate(shown)
    ]


def _result(workspace: Workspace, number: int, pick: PickRow, binding: Binding, frame: FrameRow) -> list[dict[str, Any]]:
    """Regions of the points; of several subjects their boxes too, also where no points are shown: they say who is who."""
    views = workspace.views
    sizes = {view: ref.size_px for view, ref in frame.images.items() if ref.size_px is not None}
    boxes = shown_boxes(pick, frame, views, workspace.spec.subjects.max)
    empty = Pose2D.empty(len(views), len(binding.skeleton))
    poses = dict.fromkeys(boxes, empty)
    if not pick.without_points:
        poses |= {int(subject): _of_views(Pose2D.from_json(pose), views, sizes) for subject, pose in pick.poses.items()}
    notes = _notes(pick)
    if len(binding.views) < len(views):
        position = views.index(binding.views[0].view)
        poses = {subject: pose.of_view(position) for subject, pose in poses.items()}
        boxes = {subject: of[position : position + 1] for subject, of in boxes.items()}
        notes = {(subject, 0, keypoint): text for (subject, view, keypoint), text in notes.items() if view == position}
    return regions.encode(poses, binding, sizes, number, boxes_px=boxes, numbered=not frame.unnumbered, notes=notes)


def _of_views(pose: Pose2D, views: tuple[str, ...], there: Mapping[str, Any]) -> Pose2D:
    """Without the points of views that have no picture: geometry places points in those too."""
    keep = np.array([view in there for view in views])[:, None]
    return Pose2D(
        xy_px=np.where(keep[..., None], pose.xy_px, np.nan),
        confidence=np.where(keep, pose.confidence, np.nan),
        state=np.where(keep, pose.state, PointState.UNLABELLED).astype(np.int64),
        provenance=np.where(keep, pose.provenance, Provenance.NONE).astype(np.int64),
    )


def _notes(pick: PickRow) -> dict[tuple[int, int, int], str]:
    """The residual of each point, as the note that its region carries."""
    return {
        (DEFAULT_SUBJECT, view, keypoint): f"{residual:.1f} px off the other views"
        for view, row in enumerate(pick.notes or [])
        for keypoint, residual in enumerate(row)
        if residual is not None
    }
