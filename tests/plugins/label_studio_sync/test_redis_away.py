"""Ticks go on without Redis; what they asked for is enqueued when it is back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from redis import Redis

from ml_backend.jobs import queue as queue_module
from ml_backend.jobs.policy import Decision
from ml_backend.jobs.queue import JobQueue, QueueAwayError
from ml_backend.store import presence, work
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync import tick as tick_module
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.pull import PullReport


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The exchange with Label Studio is noted instead of made; the policy always wants training and a push."""
    done: list[str] = []

    def note(name: str, answer: Any) -> Any:
        def step(*_: Any, **__: Any) -> Any:
            done.append(name)
            return answer

        return step

    for name, answer in (
        ("pull", PullReport({})),
        ("push", None),
        ("restore_service", None),
        ("update_marks", 0),
        ("clean_up", 0),
    ):
        monkeypatch.setattr(tick_module, name, note(name, answer))
    wanted = Decision(train=True, rescore=False, select=False, push=True, reasons=())
    monkeypatch.setattr(tick_module, "decide", lambda *_: wanted)
    return done


def tick(workspace: Workspace, url: str) -> None:
    tick_module.tick(workspace, cast(Client, None), JobQueue(url), "me")


def complaints(workspace: Workspace) -> list[str]:
    return [event.text for event in presence.list_events(workspace.store) if "Redis" in event.text]


@pytest.fixture
def refused() -> Iterator[str]:
    """The address of a port that is taken and never listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{taken.getsockname()[1]}/0"


def test_a_tick_does_everything_else_and_the_job_stays_requested(
    workspace: Workspace, steps: list[str], refused: str, redis_url: str
) -> None:
    tick(workspace, refused)
    assert steps == ["pull", "push", "restore_service", "update_marks", "clean_up"]
    (job,) = work.open_jobs(workspace.store)
    assert (job.kind, job.status) == ("retrain", "pending")
    (text,) = complaints(workspace)
    assert "is `redis` right?" in text
    tick(workspace, refused)
    assert len(complaints(workspace)) == 1
    assert len(work.open_jobs(workspace.store)) == 1
    # It is back.
    tick(workspace, redis_url)
    assert complaints(workspace) == []
    with Redis.from_url(redis_url) as connection:
        waiting = connection.lrange("rq:queue:train", 0, -1)
        assert f"parallax-{workspace.store.project_id}-{job.id}".encode() in cast(list[bytes], waiting)
        connection.flushall()


def test_a_redis_that_takes_calls_and_never_answers_counts_as_away(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "ANSWER_S", 0.2)
    work.request(workspace.store, "retrain")
    outcome: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def enqueue() -> None:
            try:
                JobQueue(f"redis://127.0.0.1:{silent.getsockname()[1]}/0").enqueue_open_jobs(workspace)
            except QueueAwayError as error:
                outcome.append(error)

        thread = threading.Thread(target=enqueue, daemon=True)
        thread.start()
        thread.join(timeout=30)
    assert outcome, "it waits for an answer for ever"
