"""Redis through RQ carries only job numbers; everything else is in the store, so a wiped Redis costs one tick."""

from __future__ import annotations

import redis
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.serializers import JSONSerializer

from ml_backend.store import work
from ml_backend.store.workspace import Workspace

#: Which queue runs which kind of job.
QUEUE_OF = {"retrain": "train", "harvest": "train", "rescore": "infer", "select": "infer"}
#: RQ must never end a training by its own clock; leases and ``train.max_minutes`` do that.
JOB_TIMEOUT_S = 24 * 3600


class JobQueue:
    """The two queues of one Redis."""

    def __init__(self, url: str) -> None:
        self.connection = redis.Redis.from_url(url, socket_connect_timeout=5, health_check_interval=30)

    def enqueue_open_jobs(self, workspace: Workspace) -> int:
        """Put every job that wants a worker on its queue, once; returns how many were new there.

        The message of a claim is named by the job and its tries, so a repeated call adds nothing while the first message
        waits, and a job whose worker died gets a new one.
        """
        added = 0
        for job in work.open_jobs(workspace.store, workspace.project_id):
            queue = Queue(QUEUE_OF[job.kind], connection=self.connection, serializer=JSONSerializer)
            name = f"parallax-{workspace.project_id}-{job.id}-{job.tries}"
            try:
                queue.enqueue(
                    "ml_backend.jobs.run.run_job",
                    args=(job.id,),
                    job_id=name,
                    unique=True,
                    job_timeout=JOB_TIMEOUT_S,
                    result_ttl=0,
                    failure_ttl=0,
                )
                added += 1
            except DuplicateJobError:
                continue
        return added
