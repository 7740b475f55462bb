"""What people did since the last look: new, edited, skipped and deleted annotations, and tasks that came or went.

Label Studio is the truth.  A pull asks for the tasks changed since the cursor (its own clock, minus an overlap) and
compares; a full sweep now and then finds what no change time tells, such as deleted tasks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from label_config.problems import Problem
from label_config.region_decode import decode
from label_config.values import Pose2D
from ml_backend.labels.edit_distance import edit_distance
from ml_backend.store import frames, generations, presence, projects, submissions, tasks, versions
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client, LabelStudioError
from plugins.label_studio_sync.config_watch import check_config
from plugins.label_studio_sync.known_frames import FrameFinder

#: Looked at again behind the cursor: clocks of several server processes may differ by seconds.
OVERLAP = timedelta(minutes=5)
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
#: Enough to see whether anything changed; annotations come with number and time only.
_SWEEP_FIELDS = "id,updated_at,is_labeled,annotations"


@dataclass
class PullReport:
    """What one pull found."""

    tasks_seen: int = 0
    changed: int = 0
    deleted: int = 0
    problems: list[str] = field(default_factory=list)


def pull(workspace: Workspace, client: Client, *, full: bool = False) -> PullReport:
    """Bring the store up to date with Label Studio.  Running it twice changes nothing more."""
    project = workspace.project
    check_config(workspace, client)
    full = full or project.cursor is None or _sweep_is_due(workspace)
    report = PullReport()
    reader = _Reader(workspace, report)
    if full:
        reader.sweep(client)
    else:
        reader.read(client.tasks(project.ls_project_id, since=_behind(project.cursor or "")))
    values: dict[str, Any] = {"pulled_at": time.time(), "cursor": max(reader.newest, project.cursor or "")}
    if full:
        values["swept_at"] = time.time()
    projects.change(workspace.store, project.id, **{name: value for name, value in values.items() if value})
    return report


def _sweep_is_due(workspace: Workspace) -> bool:
    swept_at = workspace.project.swept_at
    return swept_at is None or time.time() - swept_at > workspace.spec.sync.full_sweep_minutes * 60


def _behind(cursor: str) -> str:
    return (datetime.strptime(cursor, _TIME) - OVERLAP).strftime(_TIME)


class _Reader:
    """Compares what Label Studio lists with what the store holds."""

    def __init__(self, workspace: Workspace, report: PullReport) -> None:
        self.workspace, self.report = workspace, report
        self.newest = ""
        self.finder = FrameFinder(workspace)
        self.known: dict[int, list[AnnotationRow]] = {}
        for row in submissions.list_annotations(workspace.store, workspace.project_id, every=True):
            self.known.setdefault(row.task_id, []).append(row)
        self.before = len(submissions.list_annotations(workspace.store, workspace.project_id))
        self.round = versions.current_round(workspace.store, workspace.project_id)
        self.tasks = {row.ls_task_id: row for row in tasks.list_tasks(workspace.store, workspace.project_id, deleted=True)}

    def sweep(self, client: Client) -> None:
        """Look at every task: cheaply first, in full only where something differs."""
        listed: set[int] = set()
        differing = []
        for item in client.tasks(self.workspace.project.ls_project_id, fields=_SWEEP_FIELDS):
            listed.add(item["id"])
            self.newest = max(self.newest, item["updated_at"])
            if self._differs(item):
                differing.append(item["id"])
        if len(differing) > len(listed) // 4:
            self.read(client.tasks(self.workspace.project.ls_project_id))
        else:
            self.read(_one_by_one(client, differing))
        gone = [number for number, row in self.tasks.items() if number not in listed and not row.deleted]
        if gone:
            tasks.mark_deleted(self.workspace.store, self.workspace.project_id, gone)
            lost = sum(self._count(self.tasks[number]) for number in gone)
            self.report.deleted += lost
            self._guard_against_loss()

    def _differs(self, item: Mapping[str, Any]) -> bool:
        row = self.tasks.get(item["id"])
        if row is None or row.deleted or row.is_labeled != item["is_labeled"]:
            return True
        held = {a.ls_annotation_id: a.updated_at for a in self.known.get(row.id, []) if not a.deleted}
        return held != {a["id"]: a["updated_at"] for a in item["annotations"]}

    def _count(self, row: TaskRow) -> int:
        return sum(not a.deleted and not a.cancelled for a in self.known.get(row.id, []))

    def read(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Take over tasks with their annotations."""
        for item in items:
            self.report.tasks_seen += 1
            self.newest = max(self.newest, item["updated_at"])
            task = self._task(item)
            if task is not None:
                self._annotations(task, item["annotations"])
        self._guard_against_loss()

    def _task(self, item: Mapping[str, Any]) -> TaskRow | None:
        known = self.tasks.get(item["id"])
        place = self.finder.find(item["data"]) if known is None else None
        if known is None and place is None:
            self._problem(f"task {item['id']}", self.finder.why(item["data"]))
            return None
        row: dict[str, Any] = {
            "ls_task_id": item["id"],
            "is_labeled": bool(item["is_labeled"]),
            "skipped": bool(item.get("cancelled_annotations")) and not item.get("total_annotations"),
            "updated_at": item["updated_at"],
            "deleted": False,
        }
        if place is not None:
            row |= {"frame_id": place.frame_id, "views": place.views, "key": item["data"].get("parallax_key")}
        if known is None or (known.is_labeled, known.skipped, known.deleted) != (row["is_labeled"], row["skipped"], False):
            tasks.save(self.workspace.store, self.workspace.project_id, [row])
            known = tasks.by_ls_id(self.workspace.store, self.workspace.project_id, item["id"])
            if known is not None:
                self.tasks[known.ls_task_id] = known
        return known

    def _annotations(self, task: TaskRow, listed: Iterable[Mapping[str, Any]]) -> None:
        held = {row.ls_annotation_id: row for row in self.known.get(task.id, [])}
        rows, present = [], set()
        for item in listed:
            present.add(item["id"])
            old = held.get(item["id"])
            if old is None or old.deleted or (old.updated_at, old.cancelled) != (item["updated_at"], bool(item["was_cancelled"])):
                rows.append(self._decode(task, item))
        self.report.changed += submissions.save(self.workspace.store, self.workspace.project_id, rows)
        gone = [number for number, row in held.items() if number not in present and not row.deleted]
        if gone:
            submissions.mark_deleted(self.workspace.store, self.workspace.project_id, gone)
            self.report.deleted += sum(not held[number].cancelled for number in gone)

    def _decode(self, task: TaskRow, item: Mapping[str, Any]) -> dict[str, Any]:
        frame = frames.list_frames(self.workspace.store, self.workspace.project_id, [task.frame_id])[0]
        sizes = {view: ref.size_px for view, ref in frame.images.items() if ref.size_px is not None}
        decoded = decode(item["result"], self.workspace.binding_of(task.views), sizes_px=sizes)
        for problem in decoded.problems:
            self._problem(f"task {task.ls_task_id}, annotation {item['id']}", _words(problem))
        generation = max((region.generation for region in decoded.shown.values()), default=None)
        return {
            "ls_annotation_id": item["id"],
            "task_id": task.id,
            "updated_at": item["updated_at"],
            "person": _person(item.get("completed_by")),
            "cancelled": bool(item["was_cancelled"]),
            "ground_truth": bool(item.get("ground_truth")),
            "lead_time_s": item.get("lead_time"),
            "poses": {str(subject): pose.to_json() for subject, pose in decoded.poses.items()},
            "problems": [_words(problem) for problem in decoded.problems],
            "shown_generation": generation,
            "edit": self._edit(generation, task, decoded.poses, bool(item["was_cancelled"])),
            "round": self.round,
            "seen_at": time.time(),
        }

    def _edit(self, generation: int | None, task: TaskRow, poses: Mapping[int, Pose2D], cancelled: bool) -> dict[str, Any] | None:
        """How far the submitted points lie from what this person was shown."""
        if generation is None or cancelled:
            return None
        pick = generations.pick_of(self.workspace.store, self.workspace.project_id, generation, task.frame_id)
        if pick is None or pick.blind:
            return None
        shown = {int(subject): Pose2D.from_json(pose) for subject, pose in pick.poses.items()}
        if task.views is not None and len(self.workspace.binding.views) < len(self.workspace.views):
            position = self.workspace.views.index(task.views[0])
            shown = {subject: pose.of_view(position) for subject, pose in shown.items()}
        return {str(subject): edit_distance(shown[subject], poses[subject]).to_json() for subject in shown.keys() & poses.keys()}

    def _problem(self, where: str, text: str) -> None:
        self.report.problems.append(f"{where}: {text}")
        presence.tell(
            self.workspace.store, self.workspace.project_id, f"{where}: {text}", level="warning", key=f"{where}: {text}"[:200]
        )

    def _guard_against_loss(self) -> None:
        """A pull that loses a large share of all labels may be a mistake: training stops and a person is asked."""
        lost = self.report.deleted
        if self.before and lost > self.workspace.spec.stop_labels_loss * self.before and lost > 1:
            text = (
                f"{lost} of {self.before} annotations disappeared from Label Studio in one pull. Training has stopped. "
                "If this was meant, run `parallax resume`; the labels themselves are still in `parallax backup` archives."
            )
            projects.change(self.workspace.store, self.workspace.project_id, halted=text)
            presence.tell(self.workspace.store, self.workspace.project_id, text, level="error", key="labels lost")


def _one_by_one(client: Client, numbers: Iterable[int]) -> Iterable[Mapping[str, Any]]:
    for number in numbers:
        try:
            yield client.call("GET", f"api/tasks/{number}/")
        except LabelStudioError as error:
            if error.status != 404:
                raise


def _words(problem: Problem) -> str:
    place = ", ".join(part for part in (problem.view, problem.keypoint) if part)
    return f"{place}: {problem.message}" if place else problem.message


def _person(completed_by: Any) -> int | None:
    number = completed_by.get("id") if isinstance(completed_by, Mapping) else completed_by
    return int(number) if number is not None else None
