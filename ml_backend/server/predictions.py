"""Predictions for ``/predict``: what the current order shows for a task, with the version that annotators are served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from label_config import regions
from label_config.values import Pose2D
from ml_backend.store import frames, generations, tasks
from ml_backend.store.generations import Generation, PickRow
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace


class PoolMissError(Exception):
    """No prediction is at hand for a task, and none could be made in time."""


class Predictions:
    """Reads the store; never answers with another version than the current generation."""

    def __init__(self, workspace: Workspace, compute: Callable[[list[int]], None] | None) -> None:
        self.workspace, self.compute = workspace, compute

    def of(self, asked: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One answer per task in the order asked.  Raises PoolMissError when one of them has none."""
        number = self.workspace.project.generation
        if number is None:
            raise PoolMissError("no order has been pushed yet")
        generation = generations.get(self.workspace.store, self.workspace.project_id, number)
        rows = [self._task(task) for task in asked]
        found = [generations.pick_of(self.workspace.store, self.workspace.project_id, number, row.frame_id) for row in rows]
        missing = [row.frame_id for row, pick in zip(rows, found, strict=True) if pick is None]
        if missing and self.compute is not None:
            self.compute(missing)
            found = [generations.pick_of(self.workspace.store, self.workspace.project_id, number, row.frame_id) for row in rows]
        if any(pick is None for pick in found):
            raise PoolMissError(
                f"{len(missing)} of {len(rows)} tasks are outside the current order, and no worker predicted them in time"
            )
        return [self._answer(generation, row, pick) for row, pick in zip(rows, found, strict=True) if pick is not None]

    def _task(self, task: Mapping[str, Any]) -> TaskRow:
        number = task.get("id")
        row = tasks.by_ls_id(self.workspace.store, self.workspace.project_id, number) if isinstance(number, int) else None
        if row is None:
            raise PoolMissError(f"task {number!r} is not known yet; it is found at the next tick")
        return row

    def _answer(self, generation: Generation, task: TaskRow, pick: PickRow) -> dict[str, Any]:
        poses = {int(subject): Pose2D.from_json(pose) for subject, pose in pick.poses.items()}
        (frame,) = frames.list_frames(self.workspace.store, self.workspace.project_id, [task.frame_id])
        sizes = {view: ref.size_px for view, ref in frame.images.items() if ref.size_px is not None}
        binding = self.workspace.binding_of(task.views)
        if len(binding.views) < len(self.workspace.views):
            position = self.workspace.views.index(binding.views[0].view)
            poses = {subject: pose.of_view(position) for subject, pose in poses.items()}
        result = [] if pick.blind else regions.encode(poses, binding, sizes, generation.number)
        return {"result": result, "score": pick.score, "model_version": generation.name}
