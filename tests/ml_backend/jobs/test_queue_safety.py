"""Redis is no way into a worker, and a Redis that pauses makes nobody wait or run twice."""

from __future__ import annotations

import json
import os
import pickle
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue

from ml_backend.jobs import queue as queue_module
from ml_backend.jobs import worker_process as worker_module
from ml_backend.jobs.messages import PREDICT_NOW, RUN_JOB
from ml_backend.jobs.queue import JobQueue, QueueAwayError
from ml_backend.store import work
from ml_backend.store.workspace import Workspace


@pytest.fixture
def empty_redis(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client
        client.flushall()


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trap),)


@pytest.mark.redis
def test_a_pickle_in_the_queue_is_not_run(
    workspace: Workspace, redis_url: str, empty_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    message = Queue("train", connection=empty_redis).enqueue("builtins.print", job_id="evil")
    empty_redis.hset(message.key, "data", pickle.dumps(Malicious(trap)))
    monkeypatch.setattr(worker_module, "open_from_environment", lambda: workspace)
    monkeypatch.setattr(worker_module, "BEAT_S", 600.0)
    worker_module.run_worker(["train"], redis_url, burst=True)
    assert empty_redis.llen("rq:queue:train") == 0, "the message was taken"
    assert not trap.exists()
    pickle.loads(pickle.dumps(Malicious(trap)))  # so it would have worked
    assert trap.exists()


#: Fields of a hash as the client writes them.
Message = dict[bytes | bytearray | memoryview | str | int | float, bytes | bytearray | memoryview | str | int | float]


def message(name: str, *arguments: Any, of: Any = None, **keywords: Any) -> Message:
    """A message as RQ writes it."""
    call = json.dumps([name, of, list(arguments), keywords]).encode()
    return {"data": zlib.compress(call), "created_at": "2026-01-01T00:00:00.000000Z", "status": "queued"}


def foreign_messages(trap: Path) -> dict[str, Message]:
    """What somebody who can write to Redis may try."""
    command, ours = f"mkdir {trap}", message(RUN_JOB, 1)
    return {
        "shell": message("os.system", command),
        "our function with keywords": message(RUN_JOB, 1, job_id=2),
        "a method": message("mkdir", of="x"),
        "a callback": {**message("os.getpid"), "success_callback_name": "os.system"},
        "text for a number": message(RUN_JOB, command),
        "a number below zero": message(RUN_JOB, -1),
        "a number that fits nowhere": message(RUN_JOB, 10**30),
        "too many frames": message(PREDICT_NOW, [1] * 20_001),
        "frames that are lists": message(PREDICT_NOW, [[1]]),
        "no numbers": message(RUN_JOB),
        "no JSON": {**ours, "data": b"\x80\x04"},
        "no call": {**ours, "data": b"7"},
        "deep": {**ours, "data": b"[" * 100_000},
        "large": {**ours, "data": zlib.compress(b" " * 50_000_000)},
        "no data": {"status": "queued"},
        "no time": {**ours, "created_at": "yesterday"},
        "no state": {**ours, "status": "x"},
    }


@pytest.mark.redis
def test_messages_that_are_none_of_ours_are_left_out_and_ours_behind_them_are_run(
    workspace: Workspace, redis_url: str, empty_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trap, ran = tmp_path / "trap", list[object]()
    for name, fields in foreign_messages(trap).items():
        empty_redis.hset(f"rq:job:{name}", mapping=fields)
        empty_redis.rpush("rq:queue:train", name)
    empty_redis.rpush("rq:queue:train", b"\xff\xfe not text")
    last: Message = {**message(RUN_JOB, 7), "success_callback_name": "os.system", "webhooks": b"[1]", "dependency_ids": b"{"}
    empty_redis.hset("rq:job:ours", mapping=last)
    empty_redis.rpush("rq:queue:train", "ours")
    monkeypatch.setattr("ml_backend.jobs.run_job.run_job", ran.append)
    monkeypatch.setattr(worker_module, "open_from_environment", lambda: workspace)
    monkeypatch.setattr(worker_module, "BEAT_S", 600.0)
    worker_module.run_worker(["train"], redis_url, burst=True)
    assert ran == [7]
    assert empty_redis.llen("rq:queue:train") == 0
    assert not trap.exists()


@pytest.mark.redis
def test_a_paused_redis_holds_nobody_up_and_its_jobs_are_enqueued_once(
    workspace: Workspace, redis_url: str, empty_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "ANSWER_S", 0.1)
    work.request(workspace.store, "retrain")
    queue = JobQueue(redis_url)
    empty_redis.execute_command("CLIENT", "PAUSE", "5000")  # type: ignore[no-untyped-call]
    with pytest.raises(QueueAwayError):
        queue.enqueue_open_jobs(workspace)
    queue.predict(workspace, [1], wait_s=0.1)  # the caller finds nothing in the store, and refuses
    assert empty_redis.ping()  # answered when the pause is over
    for _ in range(3):
        queue.enqueue_open_jobs(workspace)
    assert empty_redis.lrange("rq:queue:train", 0, -1) == [f"parallax-{workspace.store.project_id}-1".encode()]
    queue.connection.close()


def test_an_annotators_request_does_not_wait_for_a_silent_redis(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "ANSWER_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        queue = JobQueue(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        asked = threading.Thread(target=queue.predict, args=(workspace, [1]), daemon=True)
        began = time.monotonic()
        asked.start()
        asked.join(timeout=queue_module.PREDICT_WAIT_S)
        assert not asked.is_alive()
    assert time.monotonic() - began < queue_module.PREDICT_WAIT_S
    queue.connection.close()
