"""A worker that is asked to end gives its job back; that is no failure of the job."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from ml_backend.jobs import run_job
from ml_backend.jobs.job_context import JobContext, StoppedError
from ml_backend.jobs.queue import JobQueue
from ml_backend.jobs.worker_process import InProcessWorker
from ml_backend.store import presence, work
from ml_backend.store.work import MAX_TRIES
from ml_backend.store.workspace import Workspace
from tests.small_project import make_project


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    made = make_project(tmp_path)
    monkeypatch.setattr(run_job, "open_from_environment", lambda: made)
    yield made
    run_job.stopping.clear()
    made.store.close()


def one_step(context: JobContext) -> None:
    """Stands for a job that looks between two steps whether it should end."""
    if context.should_stop():
        raise StoppedError("stopped between two steps")


def state(workspace: Workspace) -> tuple[str, int]:
    (job,) = work.list_jobs(workspace.store)
    return job.status, job.tries


def test_a_job_may_be_given_back_any_number_of_times(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_job, "_do", one_step)
    job = work.request(workspace.store, "retrain")
    run_job.stopping.set()
    for _ in range(MAX_TRIES + 2):
        run_job.run_job(job.id)
        assert state(workspace) == ("pending", 0)
    assert presence.list_events(workspace.store) == []
    run_job.stopping.clear()
    run_job.run_job(job.id)
    assert state(workspace) == ("done", 1)


def test_a_job_that_was_taken_over_is_not_given_back(workspace: Workspace) -> None:
    job = work.claim(workspace.store, work.request(workspace.store, "retrain").id, "a")
    assert job is not None
    with workspace.store.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET lease_until = 0")
    assert work.claim(workspace.store, job.id, "b") is not None
    assert not work.release(workspace.store, job)
    assert state(workspace) == ("running", 2)


@pytest.mark.redis
def test_sigterm_reaches_the_job(workspace: Workspace, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked_in_the_middle(context: JobContext) -> None:
        assert not context.should_stop()
        signal.raise_signal(signal.SIGTERM)
        one_step(context)

    monkeypatch.setattr(run_job, "_do", asked_in_the_middle)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with redis.Redis.from_url(redis_url) as connection:
        connection.flushdb()
        work.request(workspace.store, "retrain")
        assert JobQueue(redis_url).enqueue_open_jobs(workspace) == 1
        queue = Queue("train", connection=connection, serializer=JSONSerializer)
        try:
            InProcessWorker([queue], connection=connection, serializer=JSONSerializer).work(logging_level="ERROR")
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        assert state(workspace) == ("pending", 0)
        assert JobQueue(redis_url).enqueue_open_jobs(workspace) == 1, "the next tick finds no message of the first try"
