"""Tasks and annotations as Label Studio lists them → rows of the store, in batches of one transaction each."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from label_config.binding import Binding
from label_config.problems import Problem
from label_config.region_decode import DecodedAnnotation, decode
from label_config.values import DEFAULT_SUBJECT, BadInputError, Box, FloatArray, Pose2D
from ml_backend.labels.edit_distance import edit_distance
from ml_backend.store import frames, generations, presence, submissions, tasks, versions
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import PickRow
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.known_frames import FrameFinder
from plugins.label_studio_sync.task_names import KEY
from plugins.label_studio_sync.times import instant

BATCH = 500

Item = Mapping[str, Any]


class TaskReader:
    """Compares what Label Studio lists with what the store holds.

    again   read annotations again that could not be read completely before
    newest  largest ``updated_at`` seen
    lost    annotations that counted and are gone
    """

    def __init__(self, workspace: Workspace, client: Client, *, again: bool = False) -> None:
        self.workspace, self.client, self.again = workspace, client, again
        self.store, self.project_id = workspace.store, workspace.project_id
        self.finder = FrameFinder(workspace)
        self.boxes = frames.boxes_by_id(self.store, self.project_id)
        self.held: dict[int, dict[int, AnnotationRow]] = {}
        for row in submissions.list_annotations(self.store, self.project_id, every=True):
            self.held.setdefault(row.task_id, {})[row.ls_annotation_id] = row
        self.labels_before = submissions.count(self.store, self.project_id)
        self.round = versions.current_round(self.store, self.project_id)
        self.tasks: dict[int, TaskRow] = {}
        self._list_tasks()
        everything = generations.list_generations(self.store, self.project_id)
        self._points_were_shown = any(g.switched_at is not None and g.version_id is not None for g in everything)
        self.newest: str | None = None
        self.seen = self.changed = self.lost = 0
        self.problems: list[str] = []

    def _list_tasks(self) -> None:
        self.tasks = {row.ls_task_id: row for row in tasks.list_tasks(self.store, self.project_id, deleted=True)}

    def notice(self, updated_at: str) -> None:
        """Remember the newest change."""
        if self.newest is None or instant(updated_at) > instant(self.newest):
            self.newest = updated_at

    def differs(self, item: Item) -> bool:
        """Whether a task, listed with the numbers and times of its annotations, is not as the store has it."""
        row = self.tasks.get(item["id"])
        if row is None or row.deleted or row.is_labeled != item["is_labeled"]:
            return True
        held = {number: a for number, a in self.held.get(row.id, {}).items() if not a.deleted}
        if held.keys() != {a["id"] for a in item["annotations"]}:
            return True
        return any(self._is_news(held.get(a["id"]), a) for a in item["annotations"])

    def _is_news(self, old: AnnotationRow | None, item: Item) -> bool:
        if old is None or old.deleted or (self.again and bool(old.problems)):
            return True
        return (old.updated_at, old.cancelled) != (item["updated_at"], bool(item["was_cancelled"]))

    def read(self, items: Iterable[Item]) -> None:
        """Take over tasks with their annotations."""
        left = iter(items)
        while batch := list(islice(left, BATCH)):
            self._read(batch)

    def _read(self, batch: Sequence[Item]) -> None:
        self.seen += len(batch)
        for item in batch:
            self.notice(item["updated_at"])
        self._save_tasks(batch)
        self._save_boxes(batch)
        known = [(self.tasks[item["id"]], item["annotations"]) for item in batch if item["id"] in self.tasks]
        self._save_annotations(known)

    def _save_tasks(self, batch: Sequence[Item]) -> None:
        self.finder.learn(item["data"] for item in batch if item["id"] not in self.tasks)
        rows, nowhere = [], list[Item]()
        for item in batch:
            known = self.tasks.get(item["id"])
            row: dict[str, Any] = {
                "ls_task_id": item["id"],
                "is_labeled": bool(item["is_labeled"]),
                "skipped": bool(item["cancelled_annotations"]) and not item["total_annotations"],
                "updated_at": item["updated_at"],
                "deleted": False,
            }
            if known is None:
                place = self.finder.find(item["data"])
                if place is None:
                    nowhere.append(item)
                    continue
                row |= {"frame_id": place.frame_id, "views": place.views, "key": item["data"].get(KEY)}
            elif (known.is_labeled, known.skipped, known.deleted) == (row["is_labeled"], row["skipped"], False):
                continue
            rows.append(row)
        if rows:
            tasks.save(self.store, self.project_id, rows)
            self._list_tasks()
        self._tell_nowhere(nowhere)

    def _save_boxes(self, batch: Sequence[Item]) -> None:
        """Boxes in task data; a task that does not mention them leaves those of its frame as they are."""
        changed: dict[int, dict[int, dict[str, Box]]] = {}
        refused: dict[str, str] = {}
        for item in batch:
            row = self.tasks.get(item["id"])
            if row is None:
                continue
            try:
                told = self.finder.names.boxes(item["data"])
            except BadInputError as error:
                refused[str(item["id"])] = str(error)
                continue
            if told is None:
                continue
            held = self.boxes.get(row.frame_id, {})
            of_subject = {view: box for view, box in held.get(DEFAULT_SUBJECT, {}).items() if view not in told}
            of_subject |= {view: box for view, box in told.items() if box is not None}
            if of_subject != held.get(DEFAULT_SUBJECT, {}):
                changed[row.frame_id] = self.boxes[row.frame_id] = {**held, DEFAULT_SUBJECT: of_subject}
        if changed:
            frames.save_boxes(self.store, changed)
        if refused:
            key, why = self.workspace.spec.frames.box, next(iter(refused.values()))
            text = f"{_listed(list(refused))}: data[{key!r}] is not used as the subject's box: {why}; see frames.box"
            self._problem(text, key="boxes")

    def _tell_nowhere(self, items: Sequence[Item]) -> None:
        """One message for all tasks with the same trouble."""
        by_reason: dict[str, list[str]] = {}
        for item in items:
            by_reason.setdefault(self.finder.names.why(item["data"]), []).append(str(item["id"]))
        for reason, numbers in by_reason.items():
            self._problem(f"{_listed(numbers)}: {reason}", key=f"no frame: {reason}")

    def _save_annotations(self, known: Sequence[tuple[TaskRow, Sequence[Item]]]) -> None:
        news = [
            (task, item)
            for task, listed in known
            for item in listed
            if self._is_news(self.held.get(task.id, {}).get(item["id"]), item)
        ]
        rows_of = {row.id: row for row in frames.list_frames(self.store, self.project_id, [task.frame_id for task, _ in news])}
        rows = [self._decode(task, rows_of[task.frame_id], item) for task, item in news]
        gone = []
        for task, listed in known:
            present = {item["id"] for item in listed}
            gone += [row for number, row in self.held.get(task.id, {}).items() if number not in present and not row.deleted]
        if self.again:
            # Unchanged in Label Studio, but read with another config: let the store take the new reading.
            submissions.mark_deleted(self.store, self.project_id, [row["ls_annotation_id"] for row in rows])
        if rows:
            self.changed += submissions.save(self.store, self.project_id, rows)
        if gone:
            submissions.mark_deleted(self.store, self.project_id, [row.ls_annotation_id for row in gone])
            self.lost += sum(not row.cancelled for row in gone)

    def forget(self, numbers: Sequence[int]) -> None:
        """These tasks are gone, and their annotations with them."""
        if not numbers:
            return
        tasks.mark_deleted(self.store, self.project_id, numbers)
        for number in numbers:
            rows = self.held.get(self.tasks[number].id, {}).values()
            self.lost += sum(not row.deleted and not row.cancelled for row in rows)

    def _decode(self, task: TaskRow, frame: FrameRow, item: Item) -> dict[str, Any]:
        sizes = {view: ref.size_px for view, ref in frame.images.items() if ref.size_px is not None}
        decoded = decode(item["result"], self._binding_of(task.views), sizes_px=sizes)
        for problem in decoded.problems:
            self._problem(f"task {task.ls_task_id}, annotation {item['id']}: {_words(problem)}")
        cancelled = bool(item["was_cancelled"])
        number = None if cancelled else self._generation(decoded, item)
        pick = None if number is None else generations.pick_of(self.store, self.project_id, number, task.frame_id)
        shown = pick if pick is not None and not pick.blind else None
        return {
            "ls_annotation_id": item["id"],
            "task_id": task.id,
            "updated_at": item["updated_at"],
            "person": _person(item.get("completed_by")),
            "cancelled": cancelled,
            "ground_truth": bool(item.get("ground_truth")),
            "lead_time_s": item.get("lead_time"),
            "poses": {str(subject): pose.to_json() for subject, pose in decoded.poses.items()},
            "boxes": {str(subject): _drawn(boxes) for subject, boxes in decoded.boxes_px.items()} or None,
            "problems": [_words(problem) for problem in decoded.problems],
            "shown_generation": number if shown else None,
            "edit": self._edit(shown, task, decoded.poses) if shown else None,
            "round": self.round,
            "seen_at": time.time(),
        }

    def _generation(self, decoded: DecodedAnnotation, item: Item) -> int | None:
        """The generation that the task was opened with, None when that cannot be told."""
        told = max((region.generation for region in decoded.shown.values()), default=None)
        if told is not None or not self._points_were_shown or item.get("parent_prediction") is None:
            return told
        # Every shown point was deleted, or none was shown: only the prediction itself still tells.
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
            if task.views and len(self.finder.names.binding.views) < len(pose.state):
                pose = pose.of_view(self.finder.names.view_names.index(task.views[0]))
            yield int(subject), pose

    def _binding_of(self, views: tuple[str, ...] | None) -> Binding:
        binding = self.finder.names.binding
        one_picture = len(binding.views) == 1 and len(self.finder.names.view_names) > 1
        return binding.for_view(views[0]) if one_picture and views else binding

    def _problem(self, text: str, key: str | None = None) -> None:
        self.problems.append(text)
        presence.tell(self.store, self.project_id, text, level="warning", key=(key or text)[:200])


def _words(problem: Problem) -> str:
    place = ", ".join(part for part in (problem.view, problem.keypoint) if part)
    return f"{place}: {problem.message}" if place and not problem.message.startswith(place) else problem.message


def _listed(numbers: Sequence[str]) -> str:
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"task{'s' if len(numbers) > 1 else ''} {', '.join(numbers[:5])}{more}"


def _drawn(boxes_px: FloatArray) -> list[list[float] | None]:
    """(V, 4) in the frame of the points → per view x and y of the left and upper edge, width, height; None = no box."""
    edges = np.round(boxes_px + [0.5, 0.5, 0.0, 0.0], 3)
    return [box if np.isfinite(box).all() else None for box in edges.tolist()]


def _person(completed_by: Any) -> int | None:
    number = completed_by.get("id") if isinstance(completed_by, Mapping) else completed_by
    return int(number) if number is not None else None
