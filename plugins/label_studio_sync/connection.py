"""The webhook and the ML backend entry in Label Studio, and the secret that both must bring."""

from __future__ import annotations

from typing import Any

import httpx

from ml_backend.store import ledger, presence
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client, LabelStudioError

SECRET_HEADER = "X-Parallax-Secret"
BASIC_USER = "parallax"
BACKEND_TITLE = "Parallax"
#: The only events that a pull cares about; others would ring for nothing, our own imports among them.
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED", "ANNOTATIONS_DELETED")


def connect(workspace: Workspace, client: Client, secret: str) -> list[str]:
    """Register webhook and backend, or mend what is there; returns what was done.

    The webhook comes first: Label Studio would make one itself, without the secret and for all events.
    """
    project = workspace.project.ls_project_id
    url = workspace.spec.backend.url.rstrip("/")
    done = _webhook(workspace, client, project, f"{url}/webhook", secret)
    backends = [backend for backend in client.backends(project) if backend["url"].rstrip("/") == url]
    if backends and done:
        # Its password is never shown: a webhook that had to be mended tells that the secret is a new one.
        client.change_backend(project, backends[0]["id"], url, BASIC_USER, secret)
        done.append(f"gave the ML backend {url} its secret")
    if backends:
        return done
    before = client.project(project).get("model_version")
    backend = client.connect_backend(project, url, BACKEND_TITLE, BASIC_USER, secret)
    ledger.record(workspace.store, workspace.project_id, "ml_backend", backend["id"])
    if client.project(project).get("model_version") != before:
        # Label Studio puts the backend's title there, which matches no prediction and makes the order random.
        client.change_project(project, model_version=before or "")
    return [*done, f"connected the ML backend {url}"]


def keep_connected(workspace: Workspace, client: Client, secret: str | None) -> list[str]:
    """Register what is missing once the backend answers; Label Studio refuses one that does not.  Returns what was done.

    ``parallax init`` usually runs before the backend does, so the loop comes back to it.  Nothing depends on it: without
    webhook and backend labels are found by polling, and the queue is served by Label Studio itself.
    """
    url = workspace.spec.backend.url.rstrip("/")
    if secret is None or not answers(url):
        return []
    try:
        done = connect(workspace, client, secret)
    except LabelStudioError as error:
        text = f"backend not registered: {str(error)[:300]}; `parallax doctor` tells the fix"
        presence.tell(workspace.store, workspace.project_id, text, level="warning", key="connect")
        return []
    presence.settle(workspace.store, workspace.project_id, "connect")
    return done


def answers(url: str) -> bool:
    """The backend at this address is there."""
    try:
        return httpx.get(f"{url.rstrip('/')}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _webhook(workspace: Workspace, client: Client, project: int, url: str, secret: str) -> list[str]:
    wanted: dict[str, Any] = {
        "headers": {SECRET_HEADER: secret},
        "send_for_all_actions": False,
        "send_payload": True,
        "actions": sorted(ACTIONS),
    }
    existing = [hook for hook in client.webhooks(project) if hook["url"].rstrip("/") == url]
    if not existing:
        hook = client.create_webhook(project, url, wanted["headers"], ACTIONS)
        ledger.record(workspace.store, workspace.project_id, "webhook", hook["id"])
        return [f"registered the webhook {url}"]
    hook = existing[0]
    held = {**hook, "actions": sorted(hook.get("actions") or ())}  # Label Studio keeps them in an order of its own
    if hook.get("is_active") and all(held.get(name) == value for name, value in wanted.items()):
        return []
    client.change_webhook(hook["id"], **wanted, is_active=True)
    ledger.record(workspace.store, workspace.project_id, "webhook", hook["id"])
    return [f"mended the webhook {url}: secret header, events, active"]
