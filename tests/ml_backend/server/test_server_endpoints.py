"""Who is let in, what is refused, and what the other endpoints answer."""

from __future__ import annotations

import base64
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from label_config.settings.caller_secret import BASIC_USER, SECRET_HEADER
from ml_backend.server.access import MAX_DEPTH
from ml_backend.server.app import create_app
from ml_backend.server.events import LABEL_ACTIONS
from ml_backend.store import generations, projects, submissions, work
from ml_backend.store.workspace import Workspace
from tests.small_project import SECRET

ROOT = Path(__file__).resolve().parents[3]


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def event_of(action: str, project: Any = 7) -> dict[str, Any]:
    """A webhook as Label Studio sends it."""
    return {"action": action, "annotation": {"id": 1, "updated_at": "t"}, "task": {"id": 100}, "project": {"id": project}}


def flags(workspace: Workspace) -> tuple[bool, bool, bool]:
    project = workspace.project
    return project.pull_requested, project.train_requested, project.select_requested


CREDENTIALS: list[tuple[dict[str, str], int]] = [
    ({}, 401),
    ({SECRET_HEADER: "wrong"}, 401),
    ({SECRET_HEADER: ""}, 401),
    ({SECRET_HEADER: SECRET}, 202),
    ({SECRET_HEADER: SECRET + "x"}, 401),
    (basic(BASIC_USER, SECRET), 202),
    (basic(BASIC_USER, "wrong"), 401),
    (basic("admin", SECRET), 401),
    ({"Authorization": "Basic not-base64"}, 401),
    ({"Authorization": "Basic /w=="}, 401),
    ({"Authorization": f"Bearer {SECRET}"}, 401),
]


@pytest.mark.parametrize(("headers", "status"), CREDENTIALS)
def test_only_the_secret_opens_the_webhook(workspace: Workspace, headers: dict[str, str], status: int) -> None:
    client = create_app(workspace, SECRET).test_client()
    assert client.post("/webhook", json=event_of("ANNOTATION_CREATED"), headers=headers).status_code == status
    assert flags(workspace) == (status == 202, False, False)


@pytest.mark.parametrize("call", [("POST", "/setup"), ("POST", "/predict"), ("GET", "/versions"), ("GET", "/metrics")])
def test_everything_but_health_needs_the_secret(workspace: Workspace, call: tuple[str, str]) -> None:
    client = create_app(workspace, SECRET).test_client()
    assert client.open(call[1], method=call[0], json={}).status_code == 401
    assert client.get("/health").status_code == 200


def test_an_empty_secret_is_no_secret(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="empty"):
        create_app(workspace, "")


def test_without_a_secret_everybody_may_call(workspace: Workspace) -> None:
    assert create_app(workspace, None).test_client().get("/versions").status_code == 200


def test_a_refusal_names_the_scheme_that_opens(workspace: Workspace) -> None:
    """RFC 9110, 15.5.2: a 401 carries a challenge, without which clients do not send the basic auth that they hold."""
    refused = create_app(workspace, SECRET).test_client().post("/predict", json={})
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith('Basic realm="Parallax"')


def test_health_and_root(client: FlaskClient) -> None:
    for path in ("/health", "/"):
        assert client.get(path).get_json() == {"status": "UP", "model_class": "Parallax"}


def test_setup_says_the_served_version(workspace: Workspace, client: FlaskClient) -> None:
    sent = {"project": "7.17951", "schema": "<View/>", "hostname": "http://ls", "access_token": "t", "extra_params": None}
    assert client.post("/setup", json=sent).get_json() == {"model_version": "px-1.1"}
    assert workspace.project.public_url == "http://ls"
    client.post("/setup", json={**sent, "hostname": "file:///etc"})
    assert workspace.project.public_url == "http://ls"
    projects.change(workspace.store, generation=None)
    assert client.post("/setup", json=sent).get_json() == {"model_version": "px-0.0"}


def test_versions_lists_what_was_served_newest_first(workspace: Workspace, client: FlaskClient) -> None:
    later = generations.add(workspace.store, None, [])
    generations.add(workspace.store, None, [])  # never served
    generations.switch(workspace.store, later.number)
    assert client.get("/versions").get_json() == {"versions": ["px-0.2", "px-1.1"]}


@pytest.mark.parametrize("action", sorted(LABEL_ACTIONS))
def test_a_label_event_asks_for_a_pull(workspace: Workspace, client: FlaskClient, action: str) -> None:
    answer = client.post("/webhook", json=event_of(action))
    assert (answer.status_code, answer.get_json()) == (202, {"status": "accepted"})
    assert flags(workspace) == (True, False, False)


@pytest.mark.parametrize("action", ["ANNOTATION_DELETED", "ANNOTATIONS_DELETED"])
def test_one_deleted_annotation_counts_like_several(workspace: Workspace, client: FlaskClient, action: str) -> None:
    assert client.post("/webhook", json=event_of(action)).status_code == 202
    assert flags(workspace) == (True, False, False)


def test_start_training_asks_for_a_pull_and_a_training(workspace: Workspace, client: FlaskClient) -> None:
    """The button comes with basic auth, not with the webhook's header."""
    bare = create_app(workspace, SECRET).test_client()
    sent = {"action": "START_TRAINING", "project": {"id": 7, "title": "mice"}}
    assert bare.post("/webhook", json=sent, headers=basic(BASIC_USER, SECRET)).status_code == 202
    assert flags(workspace) == (True, True, False)


@pytest.mark.parametrize(
    "sent",
    [
        event_of("TASKS_CREATED"),
        event_of("PROJECT_UPDATED"),
        event_of("ANNOTATION_CREATED", project=8),
        event_of("START_TRAINING", project=8),
        {"action": "ANNOTATION_CREATED"},
        {"action": "START_TRAINING", "project": "7"},
        {"action": ["ANNOTATION_CREATED"], "project": {"id": 7}},
        {"action": {"a": 1}, "project": {"id": 7}},
        {"action": None, "project": {"id": 7}},
        {},
    ],
)
def test_other_events_are_acknowledged_and_change_nothing(workspace: Workspace, client: FlaskClient, sent: Any) -> None:
    before = workspace.project
    assert client.post("/webhook", json=sent).status_code == 202
    assert workspace.project == before


def test_a_thousand_rings_set_one_flag_once(workspace: Workspace, client: FlaskClient) -> None:
    written: list[str] = []
    event.listen(
        workspace.store.engine,
        "before_cursor_execute",
        lambda connection, cursor, statement, *rest: written.append(statement) if statement.startswith("UPDATE") else None,
    )
    for _ in range(1000):
        assert client.post("/webhook", json=event_of("ANNOTATION_UPDATED")).status_code == 202
    assert flags(workspace) == (True, False, False)
    assert len(written) == 1
    assert projects.take_flag(workspace.store, "pull_requested")
    client.post("/webhook", json=event_of("ANNOTATION_UPDATED"))
    assert flags(workspace) == (True, False, False)


def nested(depth: int) -> bytes:
    """An object inside which lists lie ``depth`` deep."""
    return b'{"action": "ANNOTATION_CREATED", "project": {"id": 7}, "x": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b" " * (10 * 2**20), 413),
        (nested(MAX_DEPTH + 10), 400),
        (nested(500_000), 400),
        (b"{", 400),
        (b"[]", 400),
        (b"7", 400),
        (b"\xff\xfe", 400),
        (b"9" * 10_000, 400),
    ],
)
def test_bodies_that_are_too_large_too_deep_or_no_object(
    workspace: Workspace, client: FlaskClient, sent: bytes, status: int
) -> None:
    answer = client.post("/webhook", data=sent, content_type="application/json")
    assert answer.status_code == status
    assert set(answer.get_json()) == {"error"}
    assert flags(workspace) == (False, False, False)


def test_depth_that_label_studio_uses_is_taken(client: FlaskClient) -> None:
    assert client.post("/webhook", data=nested(MAX_DEPTH - 10), content_type="application/json").status_code == 202


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/nothing", "GET", 404), ("/predict", "GET", 405), ("/train", "POST", 404)]
)
def test_unknown_places_and_methods(client: FlaskClient, path: str, method: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert set(answer.get_json()) == {"error"}


def test_what_went_wrong_inside_stays_inside(
    workspace: Workspace, client: FlaskClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("private detail")

    monkeypatch.setattr("ml_backend.store.generations.list_generations", broken)
    answer = client.get("/versions")
    assert answer.status_code == 500
    assert "private" not in answer.text
    assert "Traceback" not in answer.text
    number = answer.get_json()["error"].split()[2].rstrip(";")
    assert number in caplog.text
    assert "private detail" in caplog.text


def test_the_secret_is_never_logged(workspace: Workspace, client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bare = create_app(workspace, SECRET).test_client()
    for headers in ({SECRET_HEADER: SECRET}, basic(BASIC_USER, SECRET), {SECRET_HEADER: SECRET[:-1]}):
        for path in ("/webhook", "/predict", "/setup", "/nothing"):
            bare.post(path, json=event_of("START_TRAINING"), headers=headers)
        bare.get("/metrics", headers=headers)
    encoded = basic(BASIC_USER, SECRET)["Authorization"].split()[1]
    for text in (caplog.text, *(bare.get(path).text for path in ("/", "/metrics", "/versions"))):
        assert SECRET[:-1] not in text
        assert encoded not in text


def test_metrics_in_prometheus_text(client: FlaskClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(*_: object, **__: object) -> None:
        raise AssertionError("a figure needs no list of everything")

    monkeypatch.setattr(submissions, "list_annotations", unread)
    work.request(workspace.store, "retrain")
    client.get("/versions")
    answer = client.get("/metrics")
    assert answer.content_type.startswith("text/plain")
    lines = answer.text.splitlines()
    assert "parallax_frames 6.0" in lines
    assert "parallax_live_version 1.0" in lines
    assert "parallax_annotations 0.0" in lines
    assert 'parallax_jobs{kind="retrain",status="pending"} 1.0' in lines
    assert 'parallax_requests_total{endpoint="versions",status="200"} 1.0' in lines


def test_the_server_process_never_loads_torch() -> None:
    heavy = "torch", "transformers", "label_studio_sdk", "cv2"
    code = f"import sys, ml_backend.server.app, ml_backend.jobs.queue; print([m for m in {heavy!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
