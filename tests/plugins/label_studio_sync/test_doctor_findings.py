"""Every finding of the doctor, provoked once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from label_config.settings.caller_secret import SECRET_HEADER
from label_config.settings.spec import Spec
from ml_backend.store import presence, projects
from ml_backend.store.workspace import Workspace
from plugins.cli.processes.ports import free_port
from plugins.label_studio_sync import hop_checks
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.finding import Finding
from plugins.label_studio_sync.hop_checks import examine
from plugins.label_studio_sync.webhook_and_backend import ACTIONS, connect

from .conftest import Lab

pytestmark = pytest.mark.ls


def findings(lab: Lab, spec: Spec | None = None, **more: Any) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in examine(spec or lab.workspace.spec, **more):
        found.setdefault(finding.hop, []).append(finding)
    return found


def with_label_studio(lab: Lab, **changes: Any) -> Spec:
    spec = lab.workspace.spec
    return spec.model_copy(update={"label_studio": spec.label_studio.model_copy(update=changes)})


@pytest.fixture
def healthy(lab: Lab, serve_backend: Callable[..., None]) -> Lab:
    """Everything in order: backend, webhook, processes, an order that is served."""
    port = free_port()
    backend = lab.workspace.spec.backend.model_copy(update={"url": f"http://127.0.0.1:{port}"})
    spec = lab.workspace.spec.model_copy(update={"backend": backend})
    lab.workspace = Workspace(spec, lab.workspace.store, lab.workspace.arrays)
    serve_backend(lab.workspace, port)
    connect(lab.workspace, lab.client, "hush")
    lab.serve([0, 1, 2])
    for process in ("sync", "infer@host:1", "train@host:2"):
        presence.beat(lab.workspace.store, process)
    return lab


def test_a_healthy_project_has_nothing_to_fix(healthy: Lab) -> None:
    found = findings(healthy)
    assert {hop: [f.state for f in of] for hop, of in found.items() if any(f.state != "ok" for f in of)} == {}
    assert set(found) == {
        *("Label Studio", "release", "project", "overlap", "model_version", "sampling", "labels", "backend", "backend entry"),
        *("webhook", "sync", "infer", "train", "model", "training", "window"),
    } - {"project", "sampling", "training"}, "hops that are only named when something is wrong"


def test_no_token_and_a_wrong_one(lab: Lab) -> None:
    (missing,) = findings(lab, with_label_studio(lab, token=None))["token"]
    assert (missing.state, "LABEL_STUDIO_API_KEY" in missing.fix) == ("error", True)
    for wrong in ("nonsense", "e30.e30.e30"):  # a legacy token, and a personal access token
        found = findings(lab, with_label_studio(lab, token=SecretStr(wrong)))
        (refused,) = found["Label Studio"]
        assert list(found) == ["Label Studio"]
        assert (refused.state, "new token from Account & Settings" in refused.fix) == ("error", True)
        assert wrong not in refused.seen


def test_nobody_listens_at_the_address(lab: Lab) -> None:
    (gone,) = findings(lab, with_label_studio(lab, url=f"http://127.0.0.1:{free_port()}"))["Label Studio"]
    assert gone.state == "error"
    assert "label_studio.url" in gone.fix


def test_something_else_listens_at_the_address(healthy: Lab) -> None:
    (other,) = findings(healthy, with_label_studio(healthy, url=healthy.workspace.spec.backend.url))["Label Studio"]
    assert other.state == "error"
    assert "label_studio.url" in other.fix


@pytest.mark.parametrize(
    ("running", "state"),
    [("1.19.0", "warning"), ("1.20.0", "ok"), ("1.22.0", "ok"), ("1.23.2", "ok"), ("1.24.0", "warning"), ("9.1.0", "warning")],
)
def test_a_release_outside_of_the_tested_range_is_named_with_the_range(lab: Lab, running: str, state: str) -> None:
    class Other(Client):
        def version(self) -> str:
            return running

    (release,) = findings(lab, connect=Other)["release"]
    assert (release.state, running in release.seen) == (state, True)
    assert "1.20.0 to 1.23.2" in f"{release.seen} {release.fix}"


def test_a_project_that_was_never_set_up(lab: Lab) -> None:
    (project,) = findings(lab, with_label_studio(lab, project=999_999))["project"]
    assert (project.state, project.fix) == ("error", "run `parallax init`")


def test_more_than_one_annotation_per_task(healthy: Lab) -> None:
    healthy.client.change_project(healthy.project, maximum_annotations=3)
    (overlap,) = findings(healthy)["overlap"]
    assert overlap.seen.startswith("3 annotations per task: every task is served to 3 people")


def test_a_model_version_that_is_the_title_of_a_backend(healthy: Lab) -> None:
    title = healthy.client.backends(healthy.project)[0]["title"]
    healthy.client.change_project(healthy.project, model_version=title)
    (version,) = findings(healthy)["model_version"]
    assert (version.state, title in version.seen) == ("error", True)
    healthy.tick()
    assert findings(healthy)["model_version"][0].state == "ok", "as the fix says"


def test_an_order_that_is_not_ours(healthy: Lab) -> None:
    healthy.client.change_project(healthy.project, sampling="Sequential sampling")
    (sampling,) = findings(healthy)["sampling"]
    assert sampling.state == "error"


def test_labels_that_do_not_match(healthy: Lab) -> None:
    xml = healthy.client.project(healthy.project)["label_config"].replace('value="head"', 'value="skull"')
    healthy.client.change_project(healthy.project, label_config=xml)
    found = findings(healthy)["labels"]
    assert any(f.state == "error" and "'head' has no label any more" in f.seen for f in found)
    assert all(f.fix for f in found)


def test_a_backend_that_is_down(lab: Lab) -> None:
    backend = lab.workspace.spec.backend.model_copy(update={"url": f"http://127.0.0.1:{free_port()}"})
    found = findings(lab, lab.workspace.spec.model_copy(update={"backend": backend}))
    assert "parallax up" in found["backend"][0].fix
    presence.beat(lab.workspace.store, "server@host:1")
    found = findings(lab, lab.workspace.spec.model_copy(update={"backend": backend}))
    assert found["backend"][0].state == "error"
    assert "parallax serve" in found["backend"][0].fix
    (entry,) = found["backend entry"]
    assert entry.state == "warning"
    assert "ML_BLOCK_LOCAL_IP=false" in entry.fix
    assert "SSRF_PROTECTION_ENABLED=false" in entry.fix


def test_a_backend_that_is_slower_than_label_studio_waits(
    healthy: Lab, monkeypatch: pytest.MonkeyPatch, serve_backend: Callable[..., None]
) -> None:
    port = free_port()
    serve_backend(healthy.workspace, port, before=lambda: time.sleep(0.2))
    monkeypatch.setattr(hop_checks, "PATIENCE_S", 0.1)
    backend = healthy.workspace.spec.backend.model_copy(update={"url": f"http://127.0.0.1:{port}"})
    (slow,) = findings(healthy, healthy.workspace.spec.model_copy(update={"backend": backend}))["backend"]
    assert (slow.state, "gives up after" in slow.fix) == ("error", True)


def test_a_backend_with_another_secret(healthy: Lab) -> None:
    healthy.client.change_webhook(healthy.client.webhooks(healthy.project)[0]["id"], headers={SECRET_HEADER: "other"})
    (hook,) = findings(healthy)["webhook"]
    assert (hook.state, "another secret" in hook.seen) == ("warning", True)


def test_a_webhook_that_shows_the_backends_secret_to_annotators(healthy: Lab) -> None:
    secret = healthy.workspace.spec.backend.secret
    assert secret is not None
    brought = {SECRET_HEADER: secret.get_secret_value()}
    healthy.client.change_webhook(healthy.client.webhooks(healthy.project)[0]["id"], headers=brought)
    (hook,) = findings(healthy)["webhook"]
    assert (hook.state, "every annotator can read" in hook.seen) == ("warning", True)


def test_a_webhook_that_is_missing_has_no_header_or_is_off(healthy: Lab) -> None:
    (hook,) = healthy.client.webhooks(healthy.project)
    for changes in ({"is_active": False}, {"is_active": True, "headers": {}}):
        healthy.client.change_webhook(hook["id"], **changes)
        (found,) = findings(healthy)["webhook"]
        assert (found.state, "parallax init" in found.fix) == ("warning", True)
        assert ("switched off" in found.seen) == (changes["is_active"] is False)
    healthy.client.delete_webhook(hook["id"])
    healthy.client.create_webhook(healthy.project, "http://127.0.0.1:1/webhook", {}, ACTIONS)
    (found,) = findings(healthy)["webhook"]
    assert "none with our address" in found.seen


def test_processes_that_are_not_alive(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(lab)
    assert [found[role][0].seen for role in ("backend", "sync", "infer", "train")] == ["has not run yet"] * 4
    assert [found[role][0].state for role in ("backend", "sync", "infer", "train")] == ["warning"] * 4, "init has just ended"
    for process in ("server@host:1", "sync", "infer@host:1", "train@host:2"):
        presence.beat(lab.workspace.store, process)
    monkeypatch.setattr(hop_checks, "ALIVE_WITHIN_S", -1.0)
    found = findings(lab)
    assert [found[role][0].state for role in ("backend", "sync", "infer", "train")] == ["error"] * 4
    assert "last sign of life 0 min ago" in found["train"][0].seen
    assert "parallax worker --queues train" in found["train"][0].fix


def test_a_redis_that_does_not_answer(lab: Lab, redis_url: str) -> None:
    of_ours = lab.workspace.spec
    assert "redis" not in findings(lab), "parallax up starts one"
    for address, state in ((f"redis://:secret@127.0.0.1:{free_port()}/0", "error"), (redis_url, "ok")):
        (found,) = findings(lab, of_ours.model_copy(update={"redis": SecretStr(address)}))["redis"]
        assert found.state == state
        assert "secret" not in found.seen + found.fix


def test_a_project_that_was_deleted(lab: Lab) -> None:
    lab.client.delete_project(lab.project)
    (found,) = findings(lab)["project"]
    assert found.state == "error"
    assert f"no project {lab.project}" in found.seen
    assert "parallax leave" in found.fix


def test_a_window_without_predictions(healthy: Lab) -> None:
    version = healthy.current().name
    for _, held in list(healthy.client.predictions(healthy.project, containing=[version])):
        for number in held:
            healthy.client.delete_prediction(number)
    (window,) = findings(healthy)["window"]
    assert window.state == "error"
    assert "parallax push" in window.fix


def test_before_the_first_order(lab: Lab) -> None:
    (window,) = findings(lab)["window"]
    assert (window.state, "no order has been pushed yet" in window.seen) == ("warning", True)


def test_training_that_stopped_and_asks(healthy: Lab) -> None:
    projects.change(healthy.workspace.store, halted="3 of 9 annotations disappeared")
    (training,) = findings(healthy)["training"]
    assert (training.state, "parallax resume" in training.fix) == ("error", True)


def test_a_blocked_private_address_is_told_as_such(lab: Lab) -> None:
    class Blocked(Client):
        def backends(self, project: int) -> list[dict[str, Any]]:
            entry = {"url": "http://localhost:9090", "title": "x", "state": "DI", "error_message": "reserved network address"}
            return [entry]

    (entry,) = findings(lab, connect=Blocked)["backend entry"]
    assert entry.state == "warning"
    assert "reserved network address" in entry.seen
    assert "ML_BLOCK_LOCAL_IP=false" in entry.fix


def test_httpx_is_not_asked_for_more_than_health(healthy: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = httpx.get

    def get(url: str, **more: Any) -> httpx.Response:
        asked.append(url)
        return real(url, **more)

    monkeypatch.setattr(httpx, "get", get)
    findings(healthy)
    assert asked == [f"{healthy.workspace.spec.backend.url}/health"]
