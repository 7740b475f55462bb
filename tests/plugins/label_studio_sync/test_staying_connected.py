"""Webhook and backend are registered as soon as the backend answers, and again when somebody removed or changed them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from label_config.settings.caller_secret import SECRET_HEADER, webhook_key
from ml_backend.server.app import create_app
from ml_backend.store import ledger, presence
from ml_backend.store.workspace import Workspace
from plugins.cli.processes.ports import free_port
from plugins.label_studio_sync.client import Client, LabelStudioError
from plugins.label_studio_sync.webhook_and_backend import ACTIONS, keep_connected
from tests.small_project import SECRET, make_project


class InMemory(Client):
    """Label Studio's webhooks and backends of one project; ``refuses`` is what it answers to a new backend."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.hooks: list[dict[str, Any]] = []
        self.connected: list[dict[str, Any]] = []
        self.settings: dict[str, Any] = {"model_version": "px-1.1"}
        self.refuses: str | None = None

    def call(self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None) -> Any:
        self.calls.append(f"{method} {path}")
        match method, path.split("/")[1]:
            case "GET", "webhooks":
                return self.hooks
            case "POST", "webhooks":
                self.hooks.append({"id": 1, **body})
                return self.hooks[-1]
            case "PATCH", "webhooks":
                self.hooks[0] |= body
                return self.hooks[0]
            case "GET", "ml":
                return self.connected
            case "POST", "ml":
                if self.refuses:
                    raise LabelStudioError(self.refuses, 403)
                self.connected.append({"id": 2, **body})
                self.settings["model_version"] = body["title"]  # as Label Studio does
                return self.connected[-1]
            case "PATCH", "ml":
                self.connected[0] |= body
                return self.connected[0]
            case "GET", "projects":
                return self.settings
            case "PATCH", "projects":
                self.settings |= body
                return self.settings
        raise AssertionError(f"unexpected call {method} {path}")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = make_project(tmp_path)
    url = f"http://127.0.0.1:{free_port()}"
    backend = made.spec.backend.model_copy(update={"url": url})
    yield Workspace(made.spec.model_copy(update={"backend": backend}), made.store, made.arrays)
    made.store.close()


@pytest.fixture
def start_backend(workspace: Workspace) -> Iterator[Callable[[], None]]:
    """Lets the backend answer at the address that parallax.yaml names."""
    running: list[Callable[[], None]] = []

    def start() -> None:
        port = int(workspace.spec.backend.url.rpartition(":")[2])
        server = make_server("127.0.0.1", port, create_app(workspace, SECRET), threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def stop() -> None:
            server.shutdown()
            thread.join()
            server.server_close()

        running.append(stop)

    yield start
    for stop in running:
        stop()


def plain(hook: dict[str, Any]) -> dict[str, Any]:
    """Its events have no order."""
    return {**hook, "actions": sorted(hook["actions"])}


def complaints(workspace: Workspace) -> list[str]:
    return [event.text for event in presence.list_events(workspace.store)]


def test_label_studio_is_left_alone_until_the_backend_answers(workspace: Workspace, start_backend: Callable[[], None]) -> None:
    label_studio = InMemory()
    assert keep_connected(workspace, label_studio, SECRET) == []
    assert label_studio.calls == []
    start_backend()
    assert keep_connected(workspace, label_studio, None) == []  # nobody may call such a backend
    assert label_studio.calls == []


def test_what_is_missing_is_registered_once(workspace: Workspace, start_backend: Callable[[], None]) -> None:
    start_backend()
    label_studio, url = InMemory(), workspace.spec.backend.url
    assert keep_connected(workspace, label_studio, SECRET) == [
        f"registered the webhook {url}/webhook",
        f"connected the ML backend {url}",
    ]
    (hook,), (backend,) = label_studio.hooks, label_studio.connected
    assert (hook["url"], hook["headers"], hook["send_for_all_actions"]) == (
        f"{url}/webhook",
        {SECRET_HEADER: webhook_key(SECRET)},
        False,
    )
    assert set(hook["actions"]) == set(ACTIONS)
    assert (backend["url"], backend["basic_auth_pass"]) == (url, SECRET)
    posts = [call for call in label_studio.calls if call.startswith("POST")]
    assert posts == ["POST api/webhooks/", "POST api/ml/"], "the webhook comes first"
    assert label_studio.settings["model_version"] == "px-1.1", "the order that is served stays in force"
    held = {entry.kind for kind in ("webhook", "ml_backend") for entry in ledger.entries(workspace.store, kind)}
    assert held == {"webhook", "ml_backend"}
    assert keep_connected(workspace, label_studio, SECRET) == []
    assert [call for call in label_studio.calls if not call.startswith("GET")][2:] == ["PATCH api/projects/7/"]


@pytest.mark.parametrize(
    "change",
    [{"headers": {}}, {"is_active": False}, {"send_for_all_actions": True}, {"actions": []}, {"send_payload": False}],
)
def test_a_webhook_that_somebody_changed_is_mended(
    workspace: Workspace, start_backend: Callable[[], None], change: dict[str, Any]
) -> None:
    start_backend()
    label_studio = InMemory()
    keep_connected(workspace, label_studio, SECRET)
    good = plain(label_studio.hooks[0])
    label_studio.hooks[0] |= change
    (mended, given) = keep_connected(workspace, label_studio, SECRET)
    assert "mended the webhook" in mended
    assert "its secret" in given
    assert {**label_studio.hooks[0], "actions": set(label_studio.hooks[0]["actions"])} == {
        **good,
        "actions": set(good["actions"]),
    }


def test_a_refusal_is_told_and_forgotten_when_it_is_over(workspace: Workspace, start_backend: Callable[[], None]) -> None:
    start_backend()
    label_studio = InMemory()
    label_studio.refuses = "private address"
    assert keep_connected(workspace, label_studio, SECRET) == []
    assert keep_connected(workspace, label_studio, SECRET) == []
    (text,) = complaints(workspace)
    assert "private address" in text
    assert "parallax doctor" in text
    label_studio.refuses = None
    assert keep_connected(workspace, label_studio, SECRET) == [f"connected the ML backend {workspace.spec.backend.url}"]
    assert complaints(workspace) == []
