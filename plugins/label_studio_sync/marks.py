"""What Label Studio shows about our tasks: the pseudo mark, and for the head of the order the reason.

Task data is patched only here and only where it differs (10–19 patches a second is all that the platform takes).
"""

from __future__ import annotations

from ml_backend.store import generations, ledger, tasks
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client, LabelStudioError

PSEUDO = "pseudo"


def update_marks(workspace: Workspace, client: Client) -> int:
    """Bring marks and reasons up to date with the current generation; returns how many tasks were patched."""
    project = workspace.project
    if project.generation is None:
        return 0
    picks = generations.list_picks(workspace.store, project.id, project.generation)
    pseudo = {pick.frame_id for pick in picks if pick.pseudo}
    open_tasks = [task for task in tasks.list_tasks(workspace.store, project.id) if not task.is_labeled]
    open_frames = {task.frame_id for task in open_tasks}
    head = [pick for pick in picks if pick.frame_id in open_frames][: workspace.spec.sync.reason_tasks]
    reasons = {pick.frame_id: pick.reason for pick in head}
    patched = 0
    for task in open_tasks:
        mark, reason = task.frame_id in pseudo, reasons.get(task.frame_id, "")
        if (mark, reason) != (task.pseudo, task.reason or ""):
            patched += _patch(workspace, client, task, mark, reason)
    return patched


def _patch(workspace: Workspace, client: Client, task: TaskRow, mark: bool, reason: str) -> int:
    try:
        data = dict(client.call("GET", f"api/tasks/{task.ls_task_id}/")["data"])
    except LabelStudioError as error:
        if error.status == 404:  # deleted a moment ago; the next sweep will find out
            return 0
        raise
    if not task.ours:
        old = {name: data.get(name) for name in ("parallax_source", "parallax_reason")}
        ledger.record(workspace.store, workspace.project_id, "task_data", task.ls_task_id, old=old)
    data["parallax_reason"] = reason
    if mark:
        data["parallax_source"] = PSEUDO
    else:
        data.pop("parallax_source", None)
    updated_at = client.change_task_data(task.ls_task_id, data)
    tasks.save(
        workspace.store,
        workspace.project_id,
        [{"ls_task_id": task.ls_task_id, "pseudo": mark, "reason": reason, "updated_at": updated_at}],
    )
    return 1
