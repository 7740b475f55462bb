"""What Label Studio shows about tasks: the pseudo mark, and for the head of the order the reason.

Task data is patched only here and only where it differs (10–19 patches a second is all that the platform takes).
"""

from __future__ import annotations

from typing import Any

from ml_backend.store import generations, ledger, tasks
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client, LabelStudioError
from plugins.label_studio_sync.task_identity import IDENTITY_FIELDS, is_another

PSEUDO = "pseudo"


def update_marks(workspace: Workspace, client: Client) -> int:
    """Bring marks and reasons up to date with the current generation; returns how many tasks were patched."""
    project = workspace.project
    if project.generation is None:
        return 0
    wanted = _wanted(workspace, project.generation)
    if not wanted:
        return 0
    rows = {task.ls_task_id: task for task, _, _ in wanted}
    listed = client.tasks_by_id(project.ls_project_id, list(rows), fields=IDENTITY_FIELDS, raw=True)
    # A task that is not listed, or another one now, was deleted a moment ago; the next sweep finds out.
    data = {item["id"]: item["data"] for item in listed if not is_another(rows[item["id"]], item)}
    there = [(task, mark, reason) for task, mark, reason in wanted if task.ls_task_id in data]
    return sum(_patch(workspace, client, task, dict(data[task.ls_task_id]), mark, reason) for task, mark, reason in there)


def _wanted(workspace: Workspace, generation: int) -> list[tuple[TaskRow, bool, str]]:
    """Tasks whose mark or reason is not as it should be."""
    picks = generations.list_picks(workspace.store, generation)
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
        if (mark, reason) != (task.pseudo, task.reason or ""):
            wanted.append((task, mark, reason))
    return wanted


def _patch(workspace: Workspace, client: Client, task: TaskRow, data: dict[str, Any], mark: bool, reason: str) -> int:
    if not task.ours:
        old = {name: data.get(name) for name in ("parallax_source", "parallax_reason")}
        ledger.record(workspace.store, "task_data", task.ls_task_id, old=old)
    data["parallax_reason"] = reason
    if mark:
        data["parallax_source"] = PSEUDO
    else:
        data.pop("parallax_source", None)
    try:
        client.change_task_data(task.ls_task_id, data)
    except LabelStudioError as error:
        if error.status == 404:
            return 0
        raise
    row = {"ls_task_id": task.ls_task_id, "pseudo": mark, "reason": reason}
    tasks.save(workspace.store, [row])
    return 1
