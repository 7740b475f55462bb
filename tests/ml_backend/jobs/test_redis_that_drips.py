"""A Redis whose answers come a byte at a time: every socket limit begins anew, the limits of a conversation do not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ml_backend.jobs import queue as queue_module
from ml_backend.jobs.queue import JobQueue, QueueAwayError
from ml_backend.jobs.total_deadline import within
from ml_backend.store import work
from ml_backend.store.workspace import Workspace

pytestmark = pytest.mark.chaos


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a server that answers everything with an endless line, twenty bytes a second."""
    over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def drip(caller: socket.socket) -> None:
        with caller, suppress(OSError):
            caller.sendall(b"+")
            while not over.wait(0.05):
                caller.sendall(b"x")

    def listen() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"
    over.set()
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def conversations() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "conversation"]


def test_an_annotator_waits_no_longer_than_was_said(workspace: Workspace, dripping: str) -> None:
    started = time.monotonic()
    JobQueue(dripping).predict(workspace, [1, 2], wait_s=1.0)
    assert 0.9 < time.monotonic() - started < 6
    for thread in conversations():
        thread.join(5)
    assert conversations() == [], "the connection was cut"


def test_a_tick_goes_on_without_such_a_redis(workspace: Workspace, dripping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "ENQUEUE_S", 1.0)
    work.request(workspace.store, "retrain")
    with pytest.raises(QueueAwayError, match="Redis does not answer"):
        JobQueue(dripping).enqueue_open_jobs(workspace)


def test_what_a_conversation_returns_and_raises_comes_through() -> None:
    assert within(5, lambda: 7, lambda: None) == 7
    with pytest.raises(KeyError, match="x"):
        within(5, lambda: dict[str, int]()["x"], lambda: None)
