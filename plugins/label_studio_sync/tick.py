"""One beat of the loop: pull, decide, enqueue, push, clean up.  Safe to repeat, to interrupt and to run twice at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml_backend.jobs.policy import Decision, Situation, decide
from ml_backend.jobs.queue import JobQueue, QueueAwayError
from ml_backend.project.job_arguments import RescoreArguments
from ml_backend.store import frames, generations, presence, projects, submissions, tasks, versions, work
from ml_backend.store.fault_points import reach
from ml_backend.store.generations import Generation
from ml_backend.store.statuses import OPEN_WORK, WAITING_ORDERS, EventLevel, GenerationStatus, JobKind, WorkStatus
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.versions import VersionRow
from ml_backend.store.work import JobRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.cleanup import clean_up
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.leadership import leading
from plugins.label_studio_sync.pull import PullReport, pull
from plugins.label_studio_sync.push_order import PushReport, push, restore_service
from plugins.label_studio_sync.task_marks import update_marks

log = logging.getLogger("parallax.sync")

#: A selection that failed for good is tried again by itself after this long.
RETRY_S = 600.0
#: Orders that say what annotators are served, or will be.
SHOWN_OR_WAITING = (*WAITING_ORDERS, GenerationStatus.CURRENT, GenerationStatus.EMPTY)


@dataclass(frozen=True)
class TickReport:
    """What one tick did; ``led`` False: another sync process does the work."""

    led: bool
    pulled: PullReport | None = None
    decision: Decision | None = None
    pushed: PushReport | None = None
    patched: int = 0
    cleaned: int = 0


def tick(
    workspace: Workspace,
    client: Client,
    queue: JobQueue,
    owner: str,
    *,
    full: bool = False,
    step: Callable[[str], None] = lambda name: None,
) -> TickReport:
    """One beat.  Raises LabelStudioError when Label Studio cannot be reached; the store is consistent at every point."""
    with leading(workspace.store, owner) as check:
        if check is None:
            return TickReport(led=False)

        def reached(stage: str) -> None:
            check()
            step(stage)
            reach(stage)

        presence.beat(workspace.store, "sync", {"owner": owner})
        return _beat(workspace, client, queue, full, reached)


def _beat(workspace: Workspace, client: Client, queue: JobQueue, full: bool, step: Callable[[str], None]) -> TickReport:
    projects.take_flag(workspace.store, "pull_requested")
    pulled = pull(workspace, client, full=full)
    step("pulled")
    decision = decide(situation(workspace), workspace.spec)
    log.debug("pulled: %s; decided: %s", pulled, decision)
    _request(workspace, decision)
    _enqueue(workspace, queue)
    pushed = push(workspace, client, step=step) if decision.push else None
    if pushed is None:
        restore_service(workspace, client, pulled.settings)
    patched = update_marks(workspace, client)
    step("marked")
    cleaned = clean_up(workspace, client)
    return TickReport(True, pulled, decision, pushed, patched, cleaned)


def _enqueue(workspace: Workspace, queue: JobQueue) -> None:
    """Without Redis no job begins, but labels are pulled and orders that are ready are pushed all the same."""
    try:
        queue.enqueue_open_jobs(workspace)
    except QueueAwayError as error:
        presence.tell(workspace.store, str(error), level=EventLevel.ERROR, key="queue")
    else:
        presence.settle(workspace.store, "queue")


def _request(workspace: Workspace, decision: Decision) -> None:
    """Jobs first, flags afterwards: a kill in between asks twice, never not at all."""
    store = workspace.store
    if decision.train:
        work.request(store, JobKind.RETRAIN)
        projects.take_flag(store, "train_requested")
    if decision.rescore:
        work.request(store, JobKind.RESCORE, RescoreArguments(workspace.project.live_version_id).to_json())
    if decision.select:
        work.request(store, JobKind.SELECT)
        projects.take_flag(store, "select_requested")
    for reason in decision.reasons:
        presence.tell(store, reason)


def situation(workspace: Workspace, now: float | None = None) -> Situation:
    """What the store holds, as the policy sees it."""
    store, project = workspace.store, workspace.project
    labels = submissions.list_annotations(store)
    current_round = versions.current_round(store)
    fresh = [row for row in labels if row.round == current_round]
    rows = generations.list_generations(store)
    waiting = [row for row in rows if row.status in WAITING_ORDERS]
    current = next((row for row in rows if row.status is GenerationStatus.CURRENT), None)
    wanted = _wanted(workspace, labels)
    served = _window(workspace, current, wanted)
    selected = _window(workspace, waiting[-1] if waiting else None, wanted)
    live = versions.live(store)
    now = time.time() if now is None else now
    newest_label_at = max((row.seen_at for row in fresh), default=None)
    of_models = [row for row in rows if row.status in SHOWN_OR_WAITING and row.version_id]
    return Situation(
        now=now,
        n_frames=frames.count(store),
        n_labelled=len({row.frame_id for row in labels}),
        new_frames=len({row.frame_id for row in fresh}),
        newest_label_at=newest_label_at,
        train_requested=project.train_requested,
        select_requested=project.select_requested,
        halted=project.halted is not None,
        config_broken=project.binding_problem is not None,
        has_model=live is not None,
        live_is_scored=live is not None and any(row.version_id == live.id for row in rows),
        order_is_of_live=not of_models or live is None or of_models[-1].version_id == live.id,
        has_generation=bool(rows),
        open_in_window=served.open,
        window=served.size,
        outside=served.outside,
        pushed_at=project.pushed_at,
        selection_waits=bool(waiting),
        open_in_selection=selected.open,
        selection_window=selected.size,
        outside_selection=selected.outside,
        selection_has_new_model=bool(waiting) and (current is None or waiting[-1].version_id != current.version_id),
        push_interrupted=any(row.status is GenerationStatus.PUSHING for row in waiting),
        busy=frozenset(job.kind for job in work.list_jobs(store) if job.status in OPEN_WORK),
        failed=_failed(workspace, live, newest_label_at, now),
    )


@dataclass(frozen=True)
class _Window:
    """The window of an order: its size, how much of it is open, and how many frames that want a label the order lacks."""

    size: int
    open: int
    outside: int


def _window(workspace: Workspace, order: Generation | None, wanted: set[int]) -> _Window:
    picks = generations.list_picks(workspace.store, order.number) if order else []
    window = [pick.frame_id for pick in picks if pick.in_window]
    return _Window(len(window), len(wanted.intersection(window)), len(wanted - {pick.frame_id for pick in picks}))


def _wanted(workspace: Workspace, labels: Sequence[AnnotationRow]) -> set[int]:
    """Frames that an order may hold and nobody has labelled or skipped."""
    known = tasks.list_tasks(workspace.store)
    done = {row.frame_id for row in labels} | {task.frame_id for task in known if task.skipped}
    wanted = frames.selectable(workspace.store) - done
    if workspace.spec.documents_root is not None:  # a frame without a task gets one
        closed = {task.frame_id for task in known} - {task.frame_id for task in known if not task.is_labeled}
        return wanted - closed
    return wanted & {task.frame_id for task in known if not task.is_labeled}


def _failed(workspace: Workspace, live: VersionRow | None, newest_label_at: float | None, now: float) -> frozenset[str]:
    """Kinds of jobs whose newest one failed for good, with no reason to believe that the next would not."""
    newest: dict[str, JobRow] = {}
    for job in work.list_jobs(workspace.store):
        newest.setdefault(job.kind, job)
    failed = set()
    for kind, job in newest.items():
        ended = job.finished_at or 0.0
        of_live = live is not None and job.arguments.get("version_id") == live.id
        hopeless: dict[str, bool] = {
            JobKind.RETRAIN: (newest_label_at or 0.0) <= ended,
            JobKind.RESCORE: of_live,
            JobKind.SELECT: of_live or abs(now - ended) < RETRY_S,
        }
        if job.status is WorkStatus.FAILED and hopeless.get(kind, False):
            failed.add(kind)
    return frozenset(failed)
