"""What a worker does with a job number: claim it, keep its lease alive, do it, and say how it ended."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from label_config.settings.config_variable import CONFIG_VARIABLE
from label_config.settings.spec import load_spec
from label_config.values import BadInputError, ParallaxError
from ml_backend.jobs.dead_device import end_if_device_is_gone, ending_without_device
from ml_backend.jobs.harvest_job import harvest
from ml_backend.jobs.job_context import JobContext, Report, StoppedError
from ml_backend.jobs.old_files import remove_old_files
from ml_backend.jobs.rescore_job import rescore, work_on_shards
from ml_backend.jobs.retrain_job import retrain
from ml_backend.jobs.select_job import select_window
from ml_backend.jobs.unordered_frames import predict_misses
from ml_backend.project.round_state import RoundState
from ml_backend.store import presence, work
from ml_backend.store.fault_points import reach
from ml_backend.store.statuses import EventLevel, JobKind, WorkStatus
from ml_backend.store.work import JobRow, LostLeaseError
from ml_backend.store.workspace import Workspace, open_workspace

log = logging.getLogger("parallax.jobs")

REFRESH_S = 10.0
#: Set when this process was asked to end: a job stops at its next step and waits for another worker.
stopping = threading.Event()


def owner_name() -> str:
    """This process, as leases name it."""
    return f"{socket.gethostname()}:{os.getpid()}"


@cache
def open_from_environment() -> Workspace:
    """The workspace of this process."""
    return open_workspace(load_spec(Path(os.environ.get(CONFIG_VARIABLE, "parallax.yaml"))))


def run_job(job_id: int) -> None:
    """Run a job, or help with its shards when another worker has it already."""
    workspace = open_from_environment()
    reach("taken")
    job = work.claim(workspace.store, job_id, owner_name())
    if job is None:
        with ending_without_device():
            _help(workspace, job_id)
        return
    reach(f"{job.kind} claimed")
    log.info("job %s (%s): try %s begins", job.id, job.kind, job.tries)
    with _lease(workspace, job) as (report, lost):
        _run(JobContext(workspace, job, report, lambda: lost.is_set() or stopping.is_set()))


def predict_now(frame_ids: list[int]) -> None:
    """Predict frames that a person has open."""
    with ending_without_device():
        predict_misses(open_from_environment(), frame_ids)


def _run(context: JobContext) -> None:
    workspace, job = context.workspace, context.job
    try:
        _do(context)
    except LostLeaseError as error:
        log.warning("%s", error)
    except StoppedError:
        work.release(workspace.store, job)
    except Exception as error:
        known = isinstance(error, ParallaxError)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        log.error("job %s (%s) failed: %s", job.id, job.kind, text if known else traceback.format_exc())
        work.fail(workspace.store, job, text)
        presence.tell(
            workspace.store,
            f"{job.kind} failed (try {job.tries}): {text}",
            level=EventLevel.ERROR,
            key=f"job {job.id}",
        )
        end_if_device_is_gone(error)
    else:
        reach(f"{job.kind} done")
        work.finish(workspace.store, job)
        log.info("job %s (%s) is done", job.id, job.kind)
        presence.settle(workspace.store, f"job {job.id}")
        remove_old_files(workspace)
        presence.forget_old(workspace.store)


def _do(context: JobContext) -> None:
    job = context.job
    if job.kind == JobKind.RETRAIN:
        retrain(context)
    elif job.kind == JobKind.HARVEST:
        harvest(context)
    elif job.kind == JobKind.RESCORE:
        rescore(context)
    elif job.kind == JobKind.SELECT:
        select_window(context)
    else:
        raise BadInputError(f"job {job.id}: unknown kind {job.kind!r}; was it written by a newer version?")


def run_here(workspace: Workspace, job: JobRow, show: Report) -> None:
    """Do a requested job in this very process, telling ``show`` how far it is; an error ends the job and comes through.

    Raises ParallaxError when a worker has taken the job already, or another of its kind is running.
    """
    claimed = work.claim(workspace.store, job.id, owner_name())
    if claimed is None:
        raise ParallaxError(f"job {job.id} ({job.kind}) is in a worker's hands already; `parallax status` shows its progress")
    with _lease(workspace, claimed) as (report, lost):

        def both(progress: dict[str, Any]) -> None:
            report(progress)
            show(progress)

        try:
            _do(JobContext(workspace, claimed, both, lost.is_set))
        except BaseException as error:
            work.fail(workspace.store, claimed, str(error) or type(error).__name__, again=False)
            raise
        work.finish(workspace.store, claimed)


def _help(workspace: Workspace, job_id: int) -> None:
    """Shards are there for everybody: an idle worker takes some of a rescan that another one leads."""
    running = [row for row in work.list_jobs(workspace.store) if row.id == job_id and row.status is WorkStatus.RUNNING]
    now = RoundState(workspace)
    if not running or running[0].kind != JobKind.RESCORE or now.live is None:
        return
    work_on_shards(now, now.live, now.round, owner_name(), lambda progress: None, stopping.is_set)


@contextlib.contextmanager
def _lease(workspace: Workspace, job: JobRow) -> Iterator[tuple[Report, threading.Event]]:
    """A thread refreshes the lease; ``lost`` is set when another worker has taken the job over."""
    lost, over = threading.Event(), threading.Event()
    newest: dict[str, Any] = {}

    def refresh() -> None:
        while not over.wait(REFRESH_S):
            try:
                held = work.heartbeat(workspace.store, job, dict(newest))
            except Exception as error:  # the database may be away for a moment; the lease outlives that
                log.warning("lease of job %s not refreshed: %s", job.id, error)
                continue
            if not held:
                lost.set()
                return

    def report(progress: dict[str, Any]) -> None:
        stage_changed = progress.get("stage") != newest.get("stage")
        newest.clear()
        newest.update(progress)
        if stage_changed and not work.heartbeat(workspace.store, job, dict(newest)):
            lost.set()
            raise LostLeaseError(f"job {job.id} ({job.kind}) was taken over by another worker")

    thread = threading.Thread(target=refresh, name=f"lease of job {job.id}", daemon=True)
    thread.start()
    try:
        yield report, lost
    finally:
        over.set()
        thread.join()
