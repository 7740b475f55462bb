"""Predictions for ``/predict``: what the current order shows for a task, with the version that annotators are served."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from label_config.labelling import regions
from label_config.labelling.binding import Binding
from label_config.values import Pose2D
from ml_backend.server.completions import Completions
from ml_backend.store import frames, generations, tasks
from ml_backend.store.generations import Generation, PickRow
from ml_backend.store.projects import Project
from ml_backend.store.shown_boxes import shown_boxes
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace

#: Asks a worker to predict these frames and waits until it has, or for as long as an annotator may wait.
Compute = Callable[[list[int]], None]

#: Requests that may wait for a worker at the same time; the other threads stay free for health checks and webhooks.
MAX_WAITING = 4
#: Tasks in one call.  Label Studio sends what somebody selected in the Data Manager, and gives up after 100 s.
MAX_TASKS = 5000
#: Label Studio's numbers fit into this; anything else is no task.
_LARGEST_ID = 2**31


class PoolMissError(Exception):
    """No prediction is at hand for a task, and none could be made in time."""


class TooManyTasksError(Exception):
    """A call asks for more than one batch."""


class ForeignProjectError(Exception):
    """The tasks are said to be of another project."""


class Predictions:
    """Reads the store; never answers with another version than the current generation."""

    def __init__(self, workspace: Workspace, compute: Compute | None) -> None:
        self.workspace, self.compute = workspace, compute
        self.completions = Completions(workspace)
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)

    def of(
        self, asked: Sequence[Mapping[str, Any]], project: object = None, context: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """One answer per task in the order asked.

        project  as Label Studio names it: its number, mostly with a dot and the second it was created in; None = not named
        context  what somebody clicked with the smart tool; then each answer is what follows from it, see ``completions``
        Raises ForeignProjectError when that is not ours, TooManyTasksError, PoolMissError when a task has no prediction.
        """
        ours = self.workspace.project
        self._check(ours, project)
        if len(asked) > MAX_TASKS:
            raise TooManyTasksError(f"{len(asked)} tasks in one call, at most {MAX_TASKS} are answered; select fewer")
        if context:
            return [self.completions.of(sent, context, row, ours) for sent, row in zip(asked, self._tasks(asked), strict=True)]
        number = ours.generation
        if number is None:
            raise PoolMissError("no order has been pushed yet")
        generation = generations.get(self.workspace.store, number)
        rows = self._tasks(asked)
        picks = self._picks(number, rows)
        missing = sorted({row.frame_id for row in rows} - picks.keys())
        if missing:
            self._wait_for(missing)
            picks = self._picks(number, rows)
            absent = sum(row.frame_id not in picks for row in rows)
            if absent:
                raise PoolMissError(f"{absent} of {len(rows)} tasks are outside the current order; none was predicted in time")
        shapes = _Shapes(self.workspace, rows)
        return [shapes.answer(generation, row, picks[row.frame_id]) for row in rows]

    def _check(self, ours: Project, named: object) -> None:
        created = int(datetime.fromisoformat(ours.ls_created_at).timestamp())
        if named is not None and str(named) not in (str(ours.ls_project_id), f"{ours.ls_project_id}.{created}"):
            raise ForeignProjectError(
                f"project {str(named)[:40]!r} is not the one served here, expected '{ours.ls_project_id}.{created}'; "
                "connect each project to a backend of its own"
            )

    def _tasks(self, asked: Sequence[Mapping[str, Any]]) -> list[TaskRow]:
        numbers = [_number(task.get("id")) for task in asked]
        known = tasks.by_ls_ids(self.workspace.store, sorted({number for number in numbers if number is not None}))
        found = [known.get(number) if number is not None else None for number in numbers]
        if None in found:
            unknown = str(asked[found.index(None)].get("id"))[:20]
            raise PoolMissError(f"task {unknown!r} is not known yet; new tasks are found at the next tick")
        return [row for row in found if row is not None]

    def _picks(self, number: int, rows: Sequence[TaskRow]) -> dict[int, PickRow]:
        return generations.picks_of(self.workspace.store, number, sorted({row.frame_id for row in rows}))

    def _wait_for(self, frame_ids: list[int]) -> None:
        if self.compute is None:
            return
        if not self._waiting.acquire(blocking=False):
            raise PoolMissError(f"{MAX_WAITING} other requests are waiting for the worker already")
        try:
            self.compute(frame_ids)
        finally:
            self._waiting.release()


def _number(value: object) -> int | None:
    """A task's number, None for what can be none."""
    return value if type(value) is int and 0 < value < _LARGEST_ID else None


class _Shapes:
    """What turns picks into regions, read once for all tasks of a request."""

    def __init__(self, workspace: Workspace, rows: Sequence[TaskRow]) -> None:
        self.workspace, self.views, self.bindings = workspace, workspace.views, dict[tuple[str, ...] | None, Binding]()
        self.most = workspace.spec.subjects.max
        ids = sorted({row.frame_id for row in rows})
        self.frames = {frame.id: frame for frame in frames.list_frames(workspace.store, ids)}

    def answer(self, generation: Generation, task: TaskRow, pick: PickRow) -> dict[str, Any]:
        # Boxes of several subjects say who is who, also where no points are shown.
        result = [] if pick.without_points and self.most == 1 else self._regions(generation, task, pick)
        return {"result": result, "score": pick.score, "model_version": generation.name}

    def _regions(self, generation: Generation, task: TaskRow, pick: PickRow) -> list[dict[str, Any]]:
        frame, binding = self.frames[task.frame_id], self._binding(task)
        boxes = shown_boxes(pick, frame, self.views, self.most)
        poses = dict.fromkeys(boxes, Pose2D.empty(len(self.views), len(binding.skeleton)))
        if not pick.without_points:
            poses |= {int(subject): Pose2D.from_json(pose) for subject, pose in pick.poses.items()}
        sizes = {view: ref.size_px for view, ref in frame.images.items() if ref.size_px is not None}
        if len(binding.views) < len(self.views):
            position = self.views.index(binding.views[0].view)
            poses = {subject: pose.of_view(position) for subject, pose in poses.items()}
            boxes = {subject: of[position : position + 1] for subject, of in boxes.items()}
        return regions.encode(poses, binding, sizes, generation.number, boxes_px=boxes, numbered=not frame.unnumbered)

    def _binding(self, task: TaskRow) -> Binding:
        if task.views not in self.bindings:
            self.bindings[task.views] = self.workspace.binding_of(task.views)
        binding = self.bindings[task.views]
        if len(binding.views) < len(self.views) and binding.views[0].view not in self.views:
            raise PoolMissError(f"task {task.ls_task_id} does not say which camera it shows; see frames.view in parallax.yaml")
        return binding
