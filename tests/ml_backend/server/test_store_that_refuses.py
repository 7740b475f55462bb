"""Events while the store is locked, full or away: answered in time, and what they ask for is not lost."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from ml_backend.server import wishes
from ml_backend.server.app import create_app
from ml_backend.store import projects
from ml_backend.store.workspace import Workspace
from tests.small_project import SECRET

HEADERS = {"X-Parallax-Secret": SECRET}
#: Label Studio waits so long for a webhook, while the annotator waits for it.
WEBHOOK_S = 1.0


def eventually(condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def ring_many(workspace: Workspace, action: str = "ANNOTATION_CREATED", count: int = 30) -> tuple[float, set[int]]:
    """Seconds of the slowest answer, and the statuses."""
    client, slowest, statuses = create_app(workspace, SECRET).test_client(), 0.0, set[int]()
    for _ in range(count):
        started = time.monotonic()
        answer = client.post("/webhook", json={"action": action, "project": {"id": 7}}, headers=HEADERS)
        slowest, statuses = max(slowest, time.monotonic() - started), statuses | {answer.status_code}
    return slowest, statuses


def test_an_event_is_answered_while_somebody_else_has_the_store_locked(workspace: Workspace, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "project.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        slowest, statuses = ring_many(workspace, "START_TRAINING")
        took = time.monotonic() - started
        assert statuses == {202}
        assert slowest < WEBHOOK_S
        assert took < 10, "only the first one waited for the store"
        assert not workspace.project.train_requested
        other.execute("ROLLBACK")
    assert eventually(lambda: workspace.project.train_requested and workspace.project.pull_requested)


def test_what_a_full_or_absent_store_refused_is_written_when_it_is_back(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishes, "RETRY_S", 0.05)
    write, refused = projects.change, []

    def full(*arguments: object, **values: object) -> None:
        refused.append(values)
        raise OperationalError("UPDATE", {}, Exception("database or disk is full"))

    monkeypatch.setattr(projects, "change", full)
    slowest, statuses = ring_many(workspace, count=5)
    assert (statuses, slowest < WEBHOOK_S) == ({202}, True)
    assert eventually(lambda: len(refused) > 3)
    monkeypatch.setattr(projects, "change", write)
    assert eventually(lambda: workspace.project.pull_requested)


def test_a_wish_that_comes_while_the_same_one_is_written_is_written_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick may have taken the flag in between."""
    asked, write, written = wishes.Wishes(workspace), projects.change, []

    def taken_at_once(store: object, **values: object) -> None:
        write(workspace.store, **values)
        written.append(values)
        projects.take_flag(workspace.store, "pull_requested")
        for _ in range(len(written), 2):
            asked.ask({"pull_requested"})

    monkeypatch.setattr(projects, "change", taken_at_once)
    asked.ask({"pull_requested"})
    assert eventually(lambda: len(written) == 2)
