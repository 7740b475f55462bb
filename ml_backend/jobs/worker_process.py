"""A worker process: takes job numbers from its queues and runs them in this very process, so that a model stays loaded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import FrameType

import redis
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from ml_backend.jobs.messages import Message
from ml_backend.jobs.queue import JobQueue, away, connect
from ml_backend.jobs.run_job import open_from_environment, owner_name, stopping
from ml_backend.store import presence

BEAT_S = 10.0

log = logging.getLogger("parallax.worker")


class InProcessWorker(SimpleWorker):
    """Runs jobs without forking; their time is limited by leases and budgets, not by signals."""

    death_penalty_class = TimerDeathPenalty

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> tuple[Job, Queue] | None:
        """The next message; one that RQ cannot even read does not end the worker."""
        while True:
            try:
                return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
            except (redis.RedisError, StopRequested):
                raise
            except Exception as error:
                log.warning("a message in Redis cannot be read and is left out: %s", str(error)[:200] or type(error).__name__)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: the job in progress stops at its next step, then the worker ends."""
        stopping.set()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


def run_worker(queues: Sequence[str], redis_url: str, *, burst: bool = False) -> None:
    """Work until stopped; ``burst`` ends when the queues are empty."""
    connection = connect(redis_url, health_check_interval=30)
    try:
        connection.ping()
    except Exception as error:
        raise away(error) from error
    workspace = open_from_environment()
    messages = JobQueue(redis_url)
    over = threading.Event()

    def beat() -> None:
        while True:
            try:
                for queue in queues:
                    presence.beat(workspace.store, f"{queue}@{owner_name()}")
                # Not only sync looks for jobs whose worker died or whose message was lost: it may be away itself.
                messages.enqueue_open_jobs(workspace)
            except Exception as error:  # database or Redis may be away for a moment
                log.warning("no heartbeat: %s", error)
            if over.wait(BEAT_S):
                return

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    named = [Queue(name, connection=connection, serializer=JSONSerializer, job_class=Message) for name in queues]
    worker = InProcessWorker(named, connection=connection, serializer=JSONSerializer, job_class=Message)
    try:
        worker.work(burst=burst, logging_level="WARNING")
    except redis.RedisError as error:
        raise away(error) from error
    finally:
        over.set()
