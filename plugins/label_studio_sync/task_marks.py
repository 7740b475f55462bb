"""What Label Studio shows about tasks: the pseudo mark, for the head of the order the reason, and what contradicts labels.

Task data is patched only here and only where it differs (10–19 patches a second is all that the platform takes).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ml_backend.store import generations, ledger, projects, tasks
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client, LabelStudioError
from plugins.label_studio_sync.label_checks import LabelChecks, due_checks
from plugins.label_studio_sync.task_identity import IDENTITY_FIELDS, is_another

PSEUDO = "pseudo"


class Marks(NamedTuple):
    """What the data of a task says beside its pictures."""

    pseudo: bool
    reason: str
    check: str


def update_marks(workspace: Workspace, client: Client) -> int:
    """Bring marks and reasons up to date with the current generation; returns how many tasks were patched."""
    project, checks = workspace.project, due_checks(workspace)
    wanted = _wanted(workspace, project.generation, checks)
    patched = 0
    if wanted:
        rows = {task.ls_task_id: task for task, _ in wanted}
        listed = client.tasks_by_id(project.ls_project_id, list(rows), fields=IDENTITY_FIELDS, raw=True)
        # A task that is not listed, or another one now, was deleted a moment ago; the next sweep finds out.
        data = {item["id"]: item["data"] for item in listed if not is_another(rows[item["id"]], item)}
        there = [(task, marks) for task, marks in wanted if task.ls_task_id in data]
        patched = sum(_patch(workspace, client, task, dict(data[task.ls_task_id]), marks) for task, marks in there)
    if checks is not None:
        projects.change(workspace.store, labels_checked=checks.labels)
    return patched


def _wanted(workspace: Workspace, generation: int | None, checks: LabelChecks | None) -> list[tuple[TaskRow, Marks]]:
    """Tasks whose marks are not as they should be; nothing is said of the order before there is one."""
    if generation is None and checks is None:
        return []
    picks = [] if generation is None else generations.list_picks(workspace.store, generation)
    pseudo = {pick.frame_id for pick in picks if pick.pseudo}
    everything = tasks.list_tasks(workspace.store)
    open_frames = {task.frame_id for task in everything if not task.is_labeled}
    head = [pick for pick in picks if pick.frame_id in open_frames][: workspace.spec.sync.reason_tasks]
    reasons = {pick.frame_id: pick.reason for pick in head}
    wanted = []
    for task in everything:
        # A labelled task is no more pseudo-labelled, and why it was shown stays true.
        mark = task.frame_id in pseudo and not task.is_labeled
        reason = (task.reason or "") if task.is_labeled else reasons.get(task.frame_id, "")
        held = Marks(task.pseudo, task.reason or "", task.check or "")
        if generation is None:
            mark, reason = held.pseudo, held.reason
        marks = Marks(mark, reason, held.check if checks is None else checks.texts.get(task.ls_task_id, ""))
        if marks != held:
            wanted.append((task, marks))
    return wanted


def _patch(workspace: Workspace, client: Client, task: TaskRow, data: dict[str, Any], marks: Marks) -> int:
    if not task.ours:
        old = {name: data.get(name) for name in ("parallax_source", "parallax_reason", "parallax_check")}
        ledger.record(workspace.store, "task_data", task.ls_task_id, old=old)
    data["parallax_reason"] = marks.reason
    for name, value in (("parallax_source", PSEUDO if marks.pseudo else ""), ("parallax_check", marks.check)):
        if value:
            data[name] = value
        else:
            data.pop(name, None)
    try:
        client.change_task_data(task.ls_task_id, data)
    except LabelStudioError as error:
        if error.status == 404:
            return 0
        raise
    row = {"ls_task_id": task.ls_task_id, "pseudo": marks.pseudo, "reason": marks.reason, "check": marks.check or None}
    tasks.save(workspace.store, [row])
    return 1
