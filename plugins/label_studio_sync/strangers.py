"""Open tasks that show no frame we know: left alone, but not out of reach.

A task without the current version is served only to people who have none with it left; one such task that somebody holds
is enough to hide all others.  So these tasks carry it as well, without points, behind everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_backend.store import tasks
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client

#: As many as an order holds besides its window.
REACH = 500


def reach_strangers(workspace: Workspace, client: Client, name: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Predictions without points for open tasks that the store does not hold; ``settings`` are the project's."""
    known = {task.ls_task_id for task in tasks.list_tasks(workspace.store)}
    if (settings.get("task_number") or 0) <= len(known):
        return []
    listed = client.tasks(workspace.project.ls_project_id, fields="id,is_labeled")
    numbers = [item["id"] for item in listed if item["id"] not in known and not item["is_labeled"]]
    return [{"task": number, "model_version": name, "score": 1.0, "result": []} for number in numbers[:REACH]]
