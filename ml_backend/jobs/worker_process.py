"""A worker process: takes job numbers from its queues and runs them in this very process, so that a model stays loaded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import FrameType

import redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from ml_backend.jobs.queue import JobQueue
from ml_backend.jobs.run_job import open_from_environment, owner_name, stopping
from ml_backend.store import presence

BEAT_S = 10.0


class InProcessWorker(SimpleWorker):
    """Runs jobs without forking; their time is limited by leases and budgets, not by signals."""

    death_penalty_class = TimerDeathPenalty

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: the job in progress stops at its next step, then the worker ends."""
        stopping.set()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


def run_worker(queues: Sequence[str], redis_url: str, *, burst: bool = False) -> None:
    """Work until stopped; ``burst`` ends when the queues are empty."""
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
                logging.getLogger("parallax.worker").warning("no heartbeat: %s", error)
            if over.wait(BEAT_S):
                return

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    connection = redis.Redis.from_url(redis_url, health_check_interval=30)
    named = [Queue(name, connection=connection, serializer=JSONSerializer) for name in queues]
    try:
        InProcessWorker(named, connection=connection, serializer=JSONSerializer).work(burst=burst, logging_level="WARNING")
    finally:
        over.set()
