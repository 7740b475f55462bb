"""Tabs of Label Studio's data manager that show our order and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from label_config.settings.spec import Spec
from ml_backend.store import ledger
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client

#: Columns of the platform's that say nothing about the order.
_HIDDEN = (
    "inner_id completed_at cancelled_annotations total_predictions annotators annotations_results annotations_ids "
    "predictions_model_versions predictions_results file_upload storage_filename created_at updated_at updated_by "
    "avg_lead_time draft_exists data.parallax_key data.parallax_source data.parallax_check"
)
_COLUMNS: dict[str, Any] = {
    "hiddenColumns": {"explore": [f"tasks:{name}" for name in _HIDDEN.split()], "labeling": []},
    "columnsWidth": {"tasks:data.parallax_reason": 520, "tasks:id": 90},
}
#: Tabs of the data manager: views of our tasks, never the queue.
TABS: tuple[dict[str, Any], ...] = (
    {
        **_COLUMNS,
        "title": "Parallax: next",
        "type": "list",
        "target": "tasks",
        "ordering": ["tasks:predictions_score"],
        "filters": {
            "conjunction": "and",
            "items": [{"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0}],
        },
    },
    {
        "title": "Parallax: check labels",
        "type": "list",
        "target": "tasks",
        "hiddenColumns": {
            "explore": [f"tasks:{name}" for name in (*_HIDDEN.split()[:-1], "data.parallax_reason")],
            "labeling": [],
        },
        "columnsWidth": {"tasks:data.parallax_check": 620, "tasks:id": 90},
        "filters": {
            "conjunction": "and",
            # Every such text says how far something is off.
            "items": [{"filter": "filter:tasks:data.parallax_check", "operator": "contains", "type": "String", "value": " off;"}],
        },
    },
    {
        "title": "Parallax: pseudo-labelled",
        "type": "list",
        "target": "tasks",
        "filters": {
            "conjunction": "and",
            "items": [{"filter": "filter:tasks:data.parallax_source", "operator": "equal", "type": "String", "value": "pseudo"}],
        },
    },
)


def missing_tabs(spec: Spec, client: Client, project: int, views: Sequence[str]) -> list[dict[str, Any]]:
    """Those of ours that the project has not yet; without enough cameras for pseudo-labels their tab would stay empty."""
    have = {view.get("data", {}).get("title") for view in client.views(project)}
    pseudo = spec.pseudo_labels.enabled and len(views) >= spec.pseudo_labels.min_views
    return [tab for tab in (TABS if pseudo else TABS[:-1]) if tab["title"] not in have]


def create_tabs(workspace: Workspace, client: Client) -> None:
    """Create the missing ones; those of a set-up that is forgotten are ours too."""
    project = workspace.project.ls_project_id
    held = {entry.ls_id for entry in ledger.entries(workspace.store, "view")}
    titles = {tab["title"] for tab in TABS}
    for view in client.views(project):
        if (title := view.get("data", {}).get("title")) in titles and str(view["id"]) not in held:
            ledger.record(workspace.store, "view", view["id"], new=title)
    for tab in missing_tabs(workspace.spec, client, project, workspace.views):
        number = client.create_view(project, tab)
        ledger.record(workspace.store, "view", number, new=tab["title"])
