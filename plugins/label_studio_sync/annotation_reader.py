"""Annotations as Label Studio lists them → rows of the store: points in pixels, and how they differ from what was shown."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from label_config.labelling.region_decode import DecodedAnnotation, decode
from label_config.values import FloatArray, Pose2D
from label_config.values.problem import Problem
from label_config.values.refusal import Refusal
from ml_backend.labels.edit_distance import edit_distance
from ml_backend.project import several_subjects
from ml_backend.project.matched_labels import match_labels
from ml_backend.project.round_state import RoundState
from ml_backend.store import generations, versions
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import PickRow
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.task_names import TaskNames
from plugins.label_studio_sync.troubles import Troubles

Item = Mapping[str, Any]


class AnnotationReader:
    """Reads the annotations of one project; ``troubles`` collects what cannot be used."""

    def __init__(self, workspace: Workspace, client: Client, names: TaskNames) -> None:
        self.store, self.rigs = workspace.store, RoundState(workspace).rigs
        self.client, self.names, self.troubles = client, names, Troubles()
        self.round = versions.current_round(self.store)
        everything = generations.list_generations(self.store)
        self._generations = {g.number for g in everything}
        self._points_were_shown = any(g.switched_at is not None and g.version_id is not None for g in everything)

    def read(self, task: TaskRow, frame: FrameRow, item: Item) -> dict[str, Any]:
        """The row of one annotation; what cannot be used goes to ``troubles``."""
        sizes = {view: ref.size_px for view, ref in frame.images.items() if ref.size_px is not None}
        decoded = decode(item["result"], self.names.binding_of(task.views), sizes_px=sizes)
        for problem in decoded.problems:
            self.troubles.add(task.ls_task_id, trouble_of(problem))
        poses, boxes_px = self._matched(decoded, task, frame)
        cancelled = bool(item["was_cancelled"])
        if not cancelled and (several := trouble_of_several(decoded, self.names.spec.subjects.max)) is not None:
            self.troubles.add(task.ls_task_id, several)
        number = None if cancelled else self._generation(task, decoded, item)
        pick = None if number is None else generations.pick_of(self.store, number, task.frame_id)
        shown = pick if pick is not None and not pick.without_points else None
        return {
            "ls_annotation_id": item["id"],
            "task_id": task.id,
            "updated_at": item["updated_at"],
            "person": _person(item.get("completed_by")),
            "cancelled": cancelled,
            "ground_truth": bool(item.get("ground_truth")),
            "lead_time_s": item.get("lead_time"),
            "poses": {str(subject): pose.to_json() for subject, pose in poses.items()},
            "boxes": {str(subject): _drawn(boxes) for subject, boxes in boxes_px.items()} or None,
            "unsized": bool(decoded.unsized),
            "problems": [str(trouble_of(problem)) for problem in decoded.problems],
            "shown_generation": number if shown else None,
            "edit": self._edit(shown, task, poses) if shown else None,
            "round": self.round,
            "seen_at": time.time(),
        }

    def _matched(
        self, decoded: DecodedAnnotation, task: TaskRow, frame: FrameRow
    ) -> tuple[Mapping[int, Pose2D], Mapping[int, FloatArray]]:
        """The poses and boxes; of several subjects whose boxes carry no number, with those that geometry finds."""
        rig = self.rigs.get(frame.key.sequence)
        if self.names.spec.subjects.max == 1 or not decoded.unnumbered or rig is None or len(decoded.poses) < 2:
            return decoded.poses, decoded.boxes_px
        if any(len(pose.state) != len(rig) for pose in decoded.poses.values()):
            return decoded.poses, decoded.boxes_px  # a task of one camera
        found = match_labels(decoded.poses, decoded.boxes_px, decoded.unnumbered, rig)
        return found.poses, found.boxes_px

    def _generation(self, task: TaskRow, decoded: DecodedAnnotation, item: Item) -> int | None:
        """The generation that the task was opened with, None when nothing says so.

        A generation, or a subject in it, that was not shown of this frame is one that somebody made up.
        """
        named: dict[int, set[str]] = {}
        for region in decoded.shown.values():
            named.setdefault(region.generation, set()).add(str(region.subject))
        for generation in sorted(named.keys() & self._generations, reverse=True):
            pick = generations.pick_of(self.store, generation, task.frame_id)
            if pick is not None and named[generation] & pick.poses.keys():
                return generation
        if not self._points_were_shown or item.get("parent_prediction") is None:
            return None
        # Every shown point was deleted, or none was shown: only the prediction itself still says.
        name = re.fullmatch(r"px-\d+\.(\d+)", self.client.prediction_version(item["parent_prediction"]) or "")
        return int(name.group(1)) if name else None

    def _edit(self, pick: PickRow, task: TaskRow, poses: Mapping[int, Pose2D]) -> dict[str, Any]:
        """How far the submitted points lie from what this person was shown, by subject."""
        edits = {}
        for subject, shown in self._shown(pick.poses, task):
            submitted = poses.get(subject, Pose2D.empty(*shown.state.shape))
            if submitted.state.shape == shown.state.shape:  # else views or keypoints were added since
                edits[str(subject)] = edit_distance(shown, submitted).to_json()
        return edits

    def _shown(self, poses: Mapping[str, Any], task: TaskRow) -> Iterator[tuple[int, Pose2D]]:
        for subject, data in poses.items():
            pose = Pose2D.from_json(data)
            if task.views and len(self.names.binding.views) < len(pose.state):
                pose = pose.of_view(self.names.view_names.index(task.views[0]))
            yield int(subject), pose


def trouble_of(problem: Problem) -> Refusal:
    """What is wrong in an annotation, as it is said of tasks."""
    place = ", ".join(part for part in (problem.view, problem.keypoint) if part)
    where = f"{place}: " if place and not problem.message.startswith(place) else ""
    return Refusal(f"annotations: {where}{problem.message}", problem.got)


def trouble_of_several(decoded: DecodedAnnotation, most: int) -> Refusal | None:
    """What is said of an annotation with points of more than ``most`` subjects."""
    count = several_subjects.labelled_subjects({subject: pose.to_json() for subject, pose in decoded.poses.items()})
    if count <= most:
        return None
    return Refusal(f"annotations: {several_subjects.expected(most)}", f"{count} subjects", several_subjects.FIX)


def _drawn(boxes_px: FloatArray) -> list[list[float] | None]:
    """(V, 4) in the frame of the points → per view x and y of the left and upper edge, width, height; None = no box."""
    edges = np.round(boxes_px + [0.5, 0.5, 0.0, 0.0], 3)
    return [box if np.isfinite(box).all() else None for box in edges.tolist()]


def _person(completed_by: Any) -> int | None:
    number = completed_by.get("id") if isinstance(completed_by, Mapping) else completed_by
    return int(number) if number is not None else None
