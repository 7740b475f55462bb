"""What Label Studio 1.23.2 really sent, answered by our server and, where it is installed, by the host ``label-studio-ml``.

``record_requests.py`` made the fixture.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from label_config.settings.caller_secret import BASIC_USER, SECRET_HEADER
from ml_backend.server.app import create_app
from ml_backend.store.workspace import Workspace
from tests.small_project import KEYPOINTS, SECRET, VIEWS

FIXTURE = Path(__file__).parent / "fixtures" / "label_studio_1.23.2.json"
REQUESTS: dict[str, dict[str, Any]] = {request["kind"]: request for request in json.loads(FIXTURE.read_text())["requests"]}
ADAPTER = Path(__file__).resolve().parents[3] / "ml_backend" / "label_studio_ml"
#: What an event sets: (pull, train).  The host drops the plural ones, which the next listing finds.
PULLS = {
    "POST /webhook START_TRAINING": (True, True),
    "POST /webhook ANNOTATION_CREATED": (True, False),
    "POST /webhook ANNOTATION_UPDATED": (True, False),
    "POST /webhook ANNOTATIONS_CREATED": (True, False),
    "POST /webhook ANNOTATIONS_DELETED": (True, False),
    "POST /webhook TASKS_DELETED": (False, False),
    "POST /webhook PROJECT_UPDATED": (False, False),
}
HOST_PULLS = PULLS | dict.fromkeys(("POST /webhook ANNOTATIONS_CREATED", "POST /webhook ANNOTATIONS_DELETED"), (False, False))


class Host:
    """One way to run Parallax as an ML backend."""

    def __init__(self, client: FlaskClient, accepted: set[int], pulls: dict[str, tuple[bool, bool]]) -> None:
        self.client, self.accepted, self.pulls = client, accepted, pulls

    def send(self, kind: str, secret: str = SECRET, **changes: Any) -> Any:
        """Send a recorded request to the small project, with the credential that Label Studio brought in its place."""
        request = REQUESTS[kind]
        arguments: dict[str, Any] = {"headers": {SECRET_HEADER: secret}} if request["header"] else {"auth": (BASIC_USER, secret)}
        if request["body"] is not None:
            arguments["json"] = _of_the_small_project(request["body"]) | changes
        return self.client.open(request["path"], method=request["method"], **arguments)


def _of_the_small_project(body: dict[str, Any]) -> dict[str, Any]:
    body = json.loads(json.dumps(body).replace("kp-left", "kp_left"))
    for task in body.get("tasks", []):
        task["id"] += 99
    project = body["project"]
    body["project"] = "7.1767225600" if isinstance(project, str) else project | {"id": 7}
    return body


def _ours(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(create_app(workspace, SECRET).test_client(), {202}, PULLS)


def _adapter(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("PARALLAX_SECRET", SECRET)
    monkeypatch.setenv("PARALLAX_CONFIG", str(workspace.spec.folder / "parallax.yaml"))
    monkeypatch.setenv("MODEL_DIR", str(workspace.spec.folder))
    monkeypatch.syspath_prepend(str(ADAPTER))
    importlib.import_module("model").served.cache_clear()
    return Host(importlib.import_module("_wsgi").app.test_client(), {200, 201}, HOST_PULLS)


OURS = pytest.param(_ours, id="ours")
#: Its own code uses what pydantic deprecates.
HOSTED = pytest.param(_adapter, id="label-studio-ml", marks=pytest.mark.filterwarnings("ignore"))


@pytest.fixture(params=[OURS, HOSTED] if find_spec("label_studio_ml") else [OURS])
def host(request: pytest.FixtureRequest, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Host:
    make: Callable[[Workspace, pytest.MonkeyPatch], Host] = request.param
    return make(workspace, monkeypatch)


def test_the_recording_holds_every_kind_of_request() -> None:
    wanted = {"GET /health", "POST /setup", "POST /predict", "POST /predict interactive", "GET /versions", *PULLS}
    assert REQUESTS.keys() == wanted


def test_health(host: Host) -> None:
    assert host.send("GET /health").get_json() == {"status": "UP", "model_class": "Parallax"}


def test_setup_says_the_served_version(host: Host) -> None:
    assert host.send("POST /setup").get_json() == {"model_version": "px-1.1"}


@pytest.mark.parametrize("kind", ["POST /predict", "POST /predict interactive"])
def test_every_task_is_answered_with_the_served_version(host: Host, kind: str) -> None:
    answer = host.send(kind)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    results = answer.get_json()["results"]
    assert [result["model_version"] for result in results] == ["px-1.1"] * len(REQUESTS[kind]["body"]["tasks"])
    # Without a calibration a click of the smart tool is answered by itself.
    points = 1 if "interactive" in kind else len(VIEWS) * len(KEYPOINTS)
    assert [len(result["result"]) for result in results] == [points] * len(results)


@pytest.mark.parametrize("kind", PULLS)
def test_an_event_asks_for_what_it_means(host: Host, workspace: Workspace, kind: str) -> None:
    assert host.send(kind).status_code in host.accepted
    project = workspace.project
    assert (project.pull_requested, project.train_requested) == host.pulls[kind]


@pytest.mark.parametrize("kind", ["POST /setup", "POST /predict", "POST /webhook START_TRAINING"])
def test_without_the_secret_nothing_is_answered(host: Host, workspace: Workspace, kind: str) -> None:
    answer = host.send(kind, secret="wrong")
    assert (answer.status_code, "results" in answer.get_json()) == (401, False)
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert (workspace.project.pull_requested, workspace.project.train_requested) == (False, False)


@pytest.mark.parametrize("changes", [{"project": "8.1767225600"}, {"tasks": [{"id": 999}]}])
def test_a_foreign_project_or_an_unknown_task_never_gets_a_list(host: Host, changes: dict[str, Any]) -> None:
    """A short or empty list would be stored as if it were the model's word."""
    answer = host.send("POST /predict", **changes)
    assert answer.status_code >= 400
    assert "results" not in answer.get_json()
