"""``kill -9`` of the backend while it answers: nothing is lost, and the next one answers correctly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ml_backend.store import fault_points, projects
from ml_backend.store.workspace import Workspace
from plugins.cli.commands.up import own_command, own_environment
from plugins.cli.processes.ports import free_port
from tests.chaos.harness import Process, wait_until
from tests.small_project import SECRET

pytestmark = pytest.mark.chaos

HEADERS = {"X-Parallax-Secret": SECRET}
EVENT = {"action": "ANNOTATION_CREATED", "project": {"id": 7}}


@pytest.fixture
def backend(workspace: Workspace, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Starts a backend that dies at a named place (empty: never); returns its address."""
    started: list[Process] = []

    def start(kill_at: str) -> str:
        port = free_port()
        environment = {**own_environment(), "PARALLAX_CONFIG": str(tmp_path / "parallax.yaml"), "PARALLAX_SECRET": SECRET}
        process = Process([*own_command("serve"), "--port", str(port)], environment, tmp_path / "serve.log")
        started.append(process)
        process.start(**({fault_points.VARIABLE: kill_at} if kill_at else {}))
        url = f"http://127.0.0.1:{port}"
        wait_until("the backend answers", lambda: answers(url), 120, lambda: process.log.read_text())
        return url

    yield start
    for process in started:
        process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def predict(url: str) -> httpx.Response:
    return httpx.post(f"{url}/predict", json={"tasks": [{"id": 100}, {"id": 103}]}, headers=HEADERS, timeout=30)


def ring(url: str) -> httpx.Response:
    return httpx.post(f"{url}/webhook", json=EVENT, headers=HEADERS, timeout=30)


# gunicorn's own parent starts another worker process when one dies, as ``parallax up`` does with the whole backend.
@pytest.mark.parametrize("place", ["asked predict", "answering predict"])
def test_a_backend_that_dies_while_predicting(backend: Callable[[str], str], place: str) -> None:
    expected = predict(backend("")).json()
    assert [len(answer["result"]) for answer in expected["results"]] == [6, 6]
    dying = backend(f"{place}:2")
    assert predict(dying).json() == expected
    with pytest.raises(httpx.HTTPError):
        predict(dying)
    wait_until("the backend answers again", lambda: answers(dying), 60)
    assert predict(dying).json() == expected


@pytest.mark.parametrize(("place", "noted"), [("asked webhook", False), ("answering webhook", True)])
def test_a_backend_that_dies_while_an_event_rings(
    backend: Callable[[str], str], workspace: Workspace, place: str, noted: bool
) -> None:
    dying = backend(f"{place}:2")
    assert ring(dying).status_code == 202
    assert projects.take_flag(workspace.store, "pull_requested")
    with pytest.raises(httpx.HTTPError):
        ring(dying)
    assert workspace.project.pull_requested == noted
    projects.take_flag(workspace.store, "pull_requested")
    wait_until("the backend answers again", lambda: answers(dying), 60)
    assert ring(dying).status_code == 202
    assert workspace.project.pull_requested
