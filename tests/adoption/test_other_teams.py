"""Other teams' projects, of every kind, through a whole visit: adopted, trained, served, labelled, exported, left.

What must differ in Label Studio afterwards are the new annotations, and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from label_config.settings.spec import load_spec
from ml_backend.jobs import run_job as jobs
from ml_backend.store import presence, versions, work
from ml_backend.store.workspace import Workspace, open_workspace
from plugins.demo.platform import Platform
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.tick import tick
from tests.s3 import S3Server

from . import kinds
from .other_team import UNKNOWN_LABEL, OtherTeam, differences, label_some

pytestmark = pytest.mark.ls

ROUND = 4
ROOT = Path(__file__).resolve().parents[2]


class NoQueue:
    """Jobs stay in the store until the test runs them."""

    def enqueue_open_jobs(self, workspace: Workspace) -> int:
        return 0


class Visit:
    """Parallax at another team's project, one step at a time."""

    def __init__(self, team: OtherTeam, monkeypatch: pytest.MonkeyPatch) -> None:
        self.team, self.config = team, str(team.config)
        self.monkeypatch = monkeypatch
        monkeypatch.setenv("PARALLAX_CONFIG", self.config)
        monkeypatch.setenv("COLUMNS", "200")

    def run(self, *arguments: str) -> str:
        """A command as the team types it; what it printed."""
        command = [sys.executable, "-m", "plugins.cli.main", "-c", self.config, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
        assert result.returncode == 0, f"{arguments}: {result.stdout}\n{result.stderr}"
        return " ".join(result.stdout.split())

    workspace: Workspace | None = None
    client: Client | None = None

    def open(self) -> None:
        """After ``init``: what sync and the workers have open."""
        spec = load_spec(Path(self.config))
        self.workspace = open_workspace(spec)
        self.client = Client(spec.label_studio.url, self.team.platform.token)
        self.monkeypatch.setattr(jobs, "open_from_environment", lambda: self.workspace)

    def close(self) -> None:
        self.team.close()
        if self.workspace is not None and self.client is not None:
            self.workspace.store.close()
            self.client.close()

    @property
    def _open(self) -> tuple[Workspace, Client]:
        assert self.workspace is not None
        assert self.client is not None
        return self.workspace, self.client

    def settle(self) -> None:
        """Sync and workers until nothing is left to do."""
        workspace, client = self._open
        for _ in range(12):
            tick(workspace, client, NoQueue(), "test")  # type: ignore[arg-type]
            waiting = work.open_jobs(workspace.store)
            if not waiting:
                return
            for job in waiting:
                jobs.run_job(job.id)
        pytest.fail(f"still not at rest; events: {self.events()}")

    def events(self) -> list[str]:
        workspace, _ = self._open
        return [event.text for event in presence.list_events(workspace.store, 100)]

    def live(self) -> str:
        workspace, _ = self._open
        row = versions.live(workspace.store)
        assert row is not None, f"no model is live; {self.run('status')}; events: {self.events()}"
        return f"px-{row.number}"

    def trained(self) -> int:
        """How many models were trained so far, published or not."""
        workspace, _ = self._open
        return len(versions.list_versions(workspace.store))

    def compared(self) -> list[bool]:
        """For each model: it was compared with the one before on validation frames."""
        workspace, _ = self._open
        rows = versions.list_versions(workspace.store)
        return [row.metrics["previous_px"] is not None for row in sorted(rows, key=lambda row: row.number)]

    def label_round(self) -> dict[int, int]:
        """Two people label the next tasks in turn; the numbers of their annotations, with the task of each."""
        people = self.team.people[:2]
        made = {}
        for turn in range(ROUND):
            someone = people[turn % 2]
            task = someone.next_task(self.team.number)
            assert task is not None, f"nothing is served; events: {self.events()}"
            made[self.team.submit(someone, task, self.team.answer(task))] = int(task["id"])
        return made


@pytest.fixture
def make_visit(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Visit]]:
    """``make_visit(kind, count, …)``: a project of that kind, and Parallax at its door."""
    made: list[Visit] = []
    for name in ("PARALLAX_SECRET", "LABEL_STUDIO_API_KEY", "PARALLAX_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)

    def make(kind: Callable[..., OtherTeam], count: int, *more: Any, **options: Any) -> Visit:
        made.append(Visit(kind(platform, tmp_path, count, *more, **options), monkeypatch))
        return made[-1]

    yield make
    for visit in made:
        visit.close()


def whole_visit(visit: Visit, labelled: set[int]) -> str:
    """Adopt, train, serve, label two rounds, export, leave; what the dry run printed.

    labelled  tasks whose labels can be learnt from before the first round
    """
    team = visit.team
    before = team.state()
    dry_run = visit.run("init", "--dry-run")
    assert "adopts project" in dry_run
    assert list(differences(before, team.state())) == []
    visit.run("init")
    visit.open()
    visit.settle()
    assert visit.live() == "px-1"  # taught by the labels that were there
    new: dict[int, int] = {}
    for round_ in (2, 3):
        new |= visit.label_round()
        visit.settle()
        assert visit.trained() == round_, visit.events()
    exported = team.folder / "labels.json"
    visit.run("export", "coco", str(exported))
    visit.run("leave")
    assert sorted(differences(before, team.state())) == sorted(f"/annotations/{number} is new" for number in new)
    found: dict[str, Any] = json.loads(exported.read_text())
    assert len(found["images"]) >= len(labelled | set(new.values()))
    assert [category["keypoints"] for category in found["categories"]] == [["Nose", "Tail"]]
    return dry_run


def test_uploaded_pictures_of_one_camera(make_visit: Callable[..., Visit]) -> None:
    visit = make_visit(kinds.uploaded, 40)
    assert UNKNOWN_LABEL in whole_visit(visit, label_some(visit.team, 12))
    assert visit.live() == "px-3", "with so few validation frames nothing is held back"
    assert any(UNKNOWN_LABEL in text for text in visit.events()), visit.events()


def test_all_cameras_of_a_frame_in_one_task_on_local_storage(make_visit: Callable[..., Visit]) -> None:
    visit = make_visit(kinds.local_storage, 40)
    whole_visit(visit, label_some(visit.team, 12))
    assert any("cut off" in text for text in visit.events()), visit.events()
    assert visit.team.their_backend is not None
    assert "/predict" not in visit.team.their_backend.asked


@pytest.mark.parametrize("presign", [False, True], ids=["proxied", "presigned"])
def test_one_camera_per_task_in_a_bucket(make_visit: Callable[..., Visit], s3: S3Server, presign: bool) -> None:
    visit = make_visit(kinds.cloud, 24, s3, presign=presign)
    whole_visit(visit, label_some(visit.team, 16))


def test_pictures_in_nested_task_data(make_visit: Callable[..., Visit]) -> None:
    visit = make_visit(kinds.nested, 24)
    whole_visit(visit, label_some(visit.team, 10))


@pytest.mark.slow
@pytest.mark.timeout(3600)  # about eight minutes on two cores
def test_two_thousand_tasks_of_which_four_hundred_are_labelled(make_visit: Callable[..., Visit]) -> None:
    visit = make_visit(kinds.large, 2000)
    for _ in range(2):
        visit.team.person()
    labelled = {task["id"] for task in visit.team.tasks() if task["total_annotations"]}
    assert len(labelled) == 400
    whole_visit(visit, labelled)
    assert visit.compared() == [False, True, True]
