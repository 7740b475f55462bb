"""The webhook and the ML backend entry in Label Studio, and what each must bring."""

from __future__ import annotations

from typing import Any

import httpx

from label_config.settings.caller_secret import BASIC_USER, SECRET_HEADER, webhook_key
from ml_backend.store import ledger, presence
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client, LabelStudioError

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
    connected = client.backends(project)
    here = next((backend for backend in connected if backend["url"].rstrip("/") == url), None)
    if here is not None:
        # Its password is never shown: a webhook that had to be mended says that the secret is a new one.
        if done or not here.get("is_interactive"):
            client.change_backend(project, here["id"], url, BASIC_USER, secret)
            done.append(f"gave the ML backend {url} its secret, and lets it answer the smart tool")
        if here["title"] == BACKEND_TITLE and str(here["id"]) not in _ours(workspace, "ml_backend"):
            ledger.record(workspace.store, "ml_backend", here["id"])  # of a set-up that is forgotten
    else:
        before = client.project(project).get("model_version")
        backend = client.connect_backend(project, url, BACKEND_TITLE, BASIC_USER, secret)
        ledger.record(workspace.store, "ml_backend", backend["id"])
        if client.project(project).get("model_version") != before:
            # Label Studio puts the backend's title there, which matches no prediction and makes the order random.
            client.change_project(project, model_version=before or "")
        done.append(f"connected the ML backend {url}")
    ours = _ours(workspace, "ml_backend")
    for backend in connected:
        if str(backend["id"]) in ours and backend["title"] == BACKEND_TITLE and backend["url"].rstrip("/") != url:
            client.disconnect_backend(backend["id"])
            ledger.undone(workspace.store, ours[str(backend["id"])])
            done.append(f"disconnected the ML backend {backend['url']}, where the backend was before")
    return done


def _ours(workspace: Workspace, kind: str) -> dict[str, int]:
    """Number in Label Studio → entry of the ledger, of what we created and did not take back."""
    return {entry.ls_id: entry.id for entry in ledger.entries(workspace.store, kind)}


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
        text = f"backend not registered: {str(error)[:300]}; `parallax doctor` says the fix"
        presence.tell(workspace.store, text, level=EventLevel.WARNING, key="connect")
        return []
    presence.settle(workspace.store, "connect")
    return done


def answers(url: str) -> bool:
    """The backend at this address is there."""
    try:
        return httpx.get(f"{url.rstrip('/')}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _webhook(workspace: Workspace, client: Client, project: int, url: str, secret: str) -> list[str]:
    wanted: dict[str, Any] = {
        "headers": {SECRET_HEADER: webhook_key(secret)},
        "send_for_all_actions": False,
        "send_payload": True,
        "actions": sorted(ACTIONS),
    }
    hooks = client.webhooks(project)
    done = _mend_or_register(
        workspace, client, project, url, wanted, next((h for h in hooks if h["url"].rstrip("/") == url), None)
    )
    ours = _ours(workspace, "webhook")
    for hook in hooks:
        if str(hook["id"]) in ours and SECRET_HEADER in (hook.get("headers") or {}) and hook["url"].rstrip("/") != url:
            client.delete_webhook(hook["id"])
            ledger.undone(workspace.store, ours[str(hook["id"])])
            done.append(f"removed the webhook {hook['url']}, where the backend was before")
    return done


def _mend_or_register(
    workspace: Workspace, client: Client, project: int, url: str, wanted: dict[str, Any], hook: dict[str, Any] | None
) -> list[str]:
    if hook is None:
        made = client.create_webhook(project, url, wanted["headers"], ACTIONS)
        ledger.record(workspace.store, "webhook", made["id"])
        return [f"registered the webhook {url}"]
    held = {**hook, "actions": sorted(hook.get("actions") or ())}  # Label Studio keeps them in an order of its own
    if str(hook["id"]) not in _ours(workspace, "webhook"):
        ledger.record(workspace.store, "webhook", hook["id"])
    if hook.get("is_active") and all(held.get(name) == value for name, value in wanted.items()):
        return []
    client.change_webhook(hook["id"], **wanted, is_active=True)
    return [f"mended the webhook {url}: secret header, events, active"]
