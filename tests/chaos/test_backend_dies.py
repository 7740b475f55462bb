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


class Backend:
    """A backend at an address that stays."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        environment = {**own_environment(), "PARALLAX_CONFIG": str(folder / "parallax.yaml"), "PARALLAX_SECRET": SECRET}
        self.process = Process([*own_command("serve"), "--port", str(port)], environment, folder / "serve.log")

    def start(self, kill_at: str = "") -> str:
        """Start it; it dies at a named place (empty: never).  Returns its address."""
        self.process.start(**({fault_points.VARIABLE: kill_at} if kill_at else {}))
        wait_until("the backend answers", lambda: answers(self.url), 120, lambda: self.process.log.read_text())
        return self.url

    def restart(self) -> None:
        """Start the one that died again, as ``parallax up`` and the compose file do."""
        wait_until("the backend is dead", self.process.look, 20)
        self.start()


@pytest.fixture
def make_backend(workspace: Workspace, tmp_path: Path) -> Iterator[Callable[[], Backend]]:
    """Makes backends, which end with the test."""
    made: list[Backend] = []

    def make() -> Backend:
        made.append(Backend(tmp_path))
        return made[-1]

    yield make
    for backend in made:
        backend.process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def predict(url: str) -> httpx.Response:
    return httpx.post(f"{url}/predict", json={"tasks": [{"id": 100}, {"id": 103}]}, headers=HEADERS, timeout=30)


def ring(url: str) -> httpx.Response:
    return httpx.post(f"{url}/webhook", json=EVENT, headers=HEADERS, timeout=30)


@pytest.mark.parametrize("place", ["asked predict", "answering predict"])
def test_a_backend_that_dies_while_predicting(make_backend: Callable[[], Backend], place: str) -> None:
    expected = predict(make_backend().start()).json()
    assert [len(answer["result"]) for answer in expected["results"]] == [6, 6]
    dying = make_backend()
    url = dying.start(f"{place}:2")
    assert predict(url).json() == expected
    with pytest.raises(httpx.HTTPError):
        predict(url)
    dying.restart()
    assert predict(url).json() == expected


@pytest.mark.parametrize(("place", "noted"), [("asked webhook", False), ("answering webhook", True)])
def test_a_backend_that_dies_while_an_event_rings(
    make_backend: Callable[[], Backend], workspace: Workspace, place: str, noted: bool
) -> None:
    dying = make_backend()
    url = dying.start(f"{place}:2")
    assert ring(url).status_code == 202
    assert projects.take_flag(workspace.store, "pull_requested")
    with pytest.raises(httpx.HTTPError):
        ring(url)
    assert workspace.project.pull_requested == noted
    projects.take_flag(workspace.store, "pull_requested")
    dying.restart()
    assert ring(url).status_code == 202
    assert workspace.project.pull_requested
