"""A selected order becomes what annotators are served: tasks, predictions, then one atomic switch.

Nothing is repaired in place.  When an answer leaves open whether a write landed, the generation is abandoned and the
same order is pushed under a new number; what landed of the old one is never served and is cleaned up later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from label_config import regions
from label_config.values import DEFAULT_SUBJECT, Pose2D
from ml_backend.store import generations, ledger, presence, projects, tasks
from ml_backend.store.frames import FrameRow, list_frames
from ml_backend.store.generations import Generation, PickRow
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client, LabelStudioError
from plugins.label_studio_sync.new_tasks import create_missing

#: Attempts under new numbers before a tick gives up; the next tick starts again.
ATTEMPTS = 3


@dataclass(frozen=True)
class PushReport:
    """What one push did."""

    generation: str
    created_tasks: int
    predictions: int
    seconds: float


def push(workspace: Workspace, client: Client, *, step: Callable[[str], None] = lambda name: None) -> PushReport | None:
    """Push the order that waits, if one does.  ``step`` is told the name of each stage as it is reached."""
    generation = _waiting(workspace)
    if generation is None:
        return None
    started = time.monotonic()
    ls_project = workspace.project.ls_project_id
    for _ in range(ATTEMPTS):
        picks = generations.list_picks(workspace.store, workspace.project_id, generation.number)
        frames = {row.id: row for row in list_frames(workspace.store, workspace.project_id, [pick.frame_id for pick in picks])}
        created = create_missing(workspace, client, picks, frames)
        step("tasks")
        predictions = _predictions(workspace, generation, picks, frames)
        generations.set_status(workspace.store, workspace.project_id, generation.number, "pushing")
        ledger.record(workspace.store, workspace.project_id, "generation", generation.name)
        if _import(client, ls_project, predictions, workspace.spec.sync.chunk, step) and _complete(
            client, ls_project, generation.name, predictions
        ):
            step("imported")
            _switch(workspace, client, generation)
            step("switched")
            return PushReport(generation.name, created, len(predictions), time.monotonic() - started)
        generation = generations.renumber(workspace.store, workspace.project_id, generation.number)
    presence.tell(
        workspace.store,
        workspace.project_id,
        f"Label Studio took no complete order in {ATTEMPTS} attempts; the previous one stays and the next tick tries again",
        level="warning",
        key="push",
    )
    return None


def _waiting(workspace: Workspace) -> Generation | None:
    """The newest selected order; one whose push was interrupted comes back under a new number."""
    rows = generations.list_generations(workspace.store, workspace.project_id)
    interrupted = [row for row in rows if row.status == "pushing"]
    selected = [row for row in rows if row.status == "selected"]
    for row in interrupted:
        if selected or row is not interrupted[-1]:
            generations.set_status(workspace.store, workspace.project_id, row.number, "abandoned")
    if selected:
        return selected[-1]
    return generations.renumber(workspace.store, workspace.project_id, interrupted[-1].number) if interrupted else None


def _predictions(
    workspace: Workspace, generation: Generation, picks: Sequence[PickRow], frames: dict[int, FrameRow]
) -> list[dict[str, Any]]:
    """One prediction for every open task of the window, in order; the tasks of one frame follow one another."""
    by_frame: dict[int, list[TaskRow]] = {}
    for task in tasks.list_tasks(workspace.store, workspace.project_id):
        by_frame.setdefault(task.frame_id, []).append(task)
    shown = [(pick, task) for pick in picks for task in by_frame.get(pick.frame_id, []) if not task.is_labeled]
    return [
        {
            "task": task.ls_task_id,
            "model_version": generation.name,
            # Rank-coded in [0, 1): 0 is labelled next, whatever the scores were.
            "score": position / (len(shown) + 1),
            "result": [] if pick.blind else _regions(workspace, generation.number, pick, task, frames[pick.frame_id]),
        }
        for position, (pick, task) in enumerate(shown)
    ]


def _regions(workspace: Workspace, number: int, pick: PickRow, task: TaskRow, frame: FrameRow) -> list[dict[str, Any]]:
    poses = {int(subject): Pose2D.from_json(pose) for subject, pose in pick.poses.items()}
    sizes = {view: ref.size_px for view, ref in frame.images.items() if ref.size_px is not None}
    notes = _notes(pick)
    binding = workspace.binding_of(task.views)
    if len(binding.views) < len(workspace.views):
        position = workspace.views.index(binding.views[0].view)
        poses = {subject: pose.of_view(position) for subject, pose in poses.items()}
        notes = {(subject, 0, keypoint): text for (subject, view, keypoint), text in notes.items() if view == position}
    return regions.encode(poses, binding, sizes, number, notes=notes)


def _notes(pick: PickRow) -> dict[tuple[int, int, int], str]:
    """The residual of each point, as the note that its region carries."""
    return {
        (DEFAULT_SUBJECT, view, keypoint): f"{residual:.1f} px off the other views"
        for view, row in enumerate(pick.notes or [])
        for keypoint, residual in enumerate(row)
        if residual is not None
    }


def _import(client: Client, project: int, predictions: list[dict[str, Any]], chunk: int, step: Callable[[str], None]) -> bool:
    """False when an answer leaves open what landed."""
    for start in range(0, len(predictions), chunk):
        try:
            client.import_predictions(project, predictions[start : start + chunk])
        except LabelStudioError as error:
            if error.ambiguous:
                return False
            raise
        step("chunk")
    return True


def _complete(client: Client, project: int, name: str, predictions: list[dict[str, Any]]) -> bool:
    """Every task of the window carries this generation exactly once, by the server's own listing."""
    if not predictions:
        return False
    wanted = {prediction["task"] for prediction in predictions}
    carrying = {task for task, versions in client.prediction_versions(project).items() if name in versions}
    count = client.model_versions(project).get(name, 0)
    if carrying == wanted and count == len(predictions):
        return True
    dropped = [prediction for prediction in predictions if prediction["task"] in wanted - carrying]
    for prediction in dropped:
        # Label Studio drops what it does not like without a word; the order is worth more than the points.
        prediction["result"] = []
    if dropped and count == len(predictions) - len(dropped):
        client.import_predictions(project, dropped)
        return client.model_versions(project).get(name, 0) == len(predictions)
    return False


def _switch(workspace: Workspace, client: Client, generation: Generation) -> None:
    """Atomic for annotators: from this call on the new order and its points are served."""
    project = workspace.project
    before = client.project(project.ls_project_id)
    for field, value in (("model_version", generation.name), ("sampling", "Uncertainty sampling")):
        ledger.record(workspace.store, project.id, "project_field", field, old=before.get(field), new=value)
    client.change_project(project.ls_project_id, model_version=generation.name, sampling="Uncertainty sampling")
    generations.switch(workspace.store, project.id, generation.number)
    projects.change(workspace.store, project.id, pushed_at=time.time())
    presence.settle(workspace.store, project.id, "push")
