"""Redis through RQ carries only job numbers; everything else is in the store, so a wiped Redis costs one tick."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from label_config.values.errors import ServiceError, SettingsError
from label_config.values.refusing import refusing
from label_config.values.shown_address import shown_address
from ml_backend.jobs.messages import PREDICT_NOW, RUN_JOB
from ml_backend.jobs.total_deadline import within
from ml_backend.store import work
from ml_backend.store.statuses import JobKind
from ml_backend.store.workspace import Workspace

#: Which queue runs which kind of job.
QUEUE_OF: dict[str, str] = {JobKind.RETRAIN: "train", JobKind.HARVEST: "train", JobKind.RESCORE: "infer", JobKind.SELECT: "infer"}
#: RQ must never end a training by its own clock; leases and ``train.max_minutes`` do that.
JOB_TIMEOUT_S = 24 * 3600
#: An annotator's request waits this long for a worker, and looks this often whether it is done.
PREDICT_WAIT_S = 20
PREDICT_POLL_S = 0.05

#: A Redis that takes longer than this to answer counts as away; so does one that answers, and not within the second limit.
ANSWER_S = 5
ENQUEUE_S = 20.0

log = logging.getLogger("parallax.queue")


class QueueAwayError(ServiceError):
    """Redis does not answer.  Jobs stay requested in the store, and are enqueued by the first look that succeeds."""


def connect(url: str, **options: Any) -> redis.Redis:
    """A client of the Redis at an address; nothing is asked of it yet.  Raises SettingsError for what is no address."""
    with refusing(SettingsError, f"redis: expected redis://:password@host:port/0, got {shown_address(url)!r}"):
        return redis.Redis.from_url(url, **options)


def away(error: Exception) -> QueueAwayError:
    """What is said for whatever goes wrong between us and what listens at the address of Redis."""
    if isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError):
        return QueueAwayError(
            "Redis refuses the password: jobs wait. Expected redis://:password@host:port/0 in PARALLAX_REDIS_URL"
        )
    if isinstance(error, redis.exceptions.InvalidResponse | UnicodeError):
        return QueueAwayError("what listens at the address of Redis is no Redis: jobs wait. Is PARALLAX_REDIS_URL right?")
    return QueueAwayError(
        f"Redis does not answer ({type(error).__name__}): jobs wait until it does. Is it running, and is `redis` right?"
    )


class JobQueue:
    """The two queues of one Redis."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = self._client(tries_again=1)

    def _client(self, *, tries_again: int) -> redis.Redis:
        retry = Retry(NoBackoff(), tries_again)
        return connect(self.url, socket_connect_timeout=ANSWER_S, socket_timeout=ANSWER_S, retry=retry, health_check_interval=30)

    def enqueue_open_jobs(self, workspace: Workspace) -> int:
        """Put every job that wants a worker on its queue, once; returns how many were new there.

        A repeated call adds nothing while the message waits.  Only the queue itself is asked: what RQ remembers of a message
        that a worker took says nothing, as the worker may have died before it could claim the job.  Raises QueueAwayError.
        """
        jobs = work.open_jobs(workspace.store)
        try:
            return within(ENQUEUE_S, lambda: self._enqueue(workspace, jobs), lambda: cut(self.connection))
        except Exception as error:
            raise away(error) from error

    def _enqueue(self, workspace: Workspace, jobs: Sequence[work.JobRow]) -> int:
        added = 0
        for job in jobs:
            queue = Queue(QUEUE_OF[job.kind], connection=self.connection, serializer=JSONSerializer)
            name = f"parallax-{workspace.store.project_id}-{job.id}"
            if name in queue.job_ids:
                continue
            queue.enqueue(
                RUN_JOB,
                args=(job.id,),
                job_id=name,
                job_timeout=JOB_TIMEOUT_S,
                result_ttl=0,
                failure_ttl=0,
            )
            added += 1
        return added

    def predict(self, workspace: Workspace, frame_ids: Sequence[int], wait_s: float = PREDICT_WAIT_S) -> None:
        """Let a worker predict these frames before anything else, and wait for it.

        The outcome is in the store, if there is one: the worker may be busy, away or unable to read a picture.  A message
        that waits longer than the caller does is dropped; the same frames asked for twice are predicted once.
        """
        numbers = sorted(frame_ids)
        digest = hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:16]
        # A worker that died over them blocks the name no longer than this.
        turn = int(time.time() // PREDICT_WAIT_S)
        name = f"parallax-predict-{workspace.store.project_id}-{digest}-{turn}"
        # A connection of its own, which can be cut without others noticing.
        with self._client(tries_again=0) as connection:
            try:
                within(wait_s, lambda: _ask(connection, name, numbers, wait_s), lambda: cut(connection))
            except TimeoutError:
                log.info("no worker predicted %d frames within %g s", len(numbers), wait_s)
            except Exception as error:
                log.warning("no worker can be asked for predictions: %s", away(error))


def _ask(connection: redis.Redis, name: str, numbers: Sequence[int], wait_s: float) -> None:
    """Put the message in front of all others and wait until it is done."""
    queue = Queue("infer", connection=connection, serializer=JSONSerializer)
    deadline = time.monotonic() + wait_s
    with contextlib.suppress(DuplicateJobError):
        queue.enqueue(
            PREDICT_NOW,
            args=(list(numbers),),
            job_id=name,
            unique=True,
            at_front=True,
            ttl=max(1, round(wait_s)),
            job_timeout=JOB_TIMEOUT_S,
            result_ttl=0,
            failure_ttl=0,
        )
    while Job.exists(name, connection=connection) and time.monotonic() < deadline:
        time.sleep(PREDICT_POLL_S)


def cut(connection: redis.Redis) -> None:
    """Close every connection of this client, also those that wait for an answer."""
    connection.connection_pool.disconnect(inuse_connections=True)
