"""One beat of the loop: pull, decide, enqueue, push, clean up.  Safe to repeat, to interrupt and to run twice at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ml_backend.jobs.policy import Decision, Situation, decide
from ml_backend.jobs.queue import JobQueue
from ml_backend.store import frames, generations, presence, projects, submissions, tasks, versions, work
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.cleanup import clean_up
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.marks import update_marks
from plugins.label_studio_sync.pull import PullReport, pull
from plugins.label_studio_sync.push import PushReport, push

#: The leader's lease outlives a slow tick; a killed leader is replaced after this long.
LEASE_S = 45.0


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
    store, project_id = workspace.store, workspace.project_id
    if not presence.acquire_lease(store, f"sync {project_id}", owner, LEASE_S):
        return TickReport(led=False)
    presence.beat(store, "sync", {"owner": owner})
    projects.take_flag(store, project_id, "pull_requested")
    pulled = pull(workspace, client, full=full)
    step("pulled")
    decision = decide(situation(workspace), workspace.spec)
    _request(workspace, decision)
    queue.enqueue_open_jobs(workspace)
    pushed = push(workspace, client, step=step) if decision.push else None
    patched = update_marks(workspace, client)
    step("marked")
    cleaned = clean_up(workspace, client)
    presence.acquire_lease(store, f"sync {project_id}", owner, LEASE_S)
    return TickReport(True, pulled, decision, pushed, patched, cleaned)


def _request(workspace: Workspace, decision: Decision) -> None:
    store, project_id = workspace.store, workspace.project_id
    if decision.train:
        projects.take_flag(store, project_id, "train_requested")
        work.request(store, project_id, "retrain")
    if decision.rescore:
        work.request(store, project_id, "rescore", {"version_id": workspace.project.live_version_id})
    if decision.select:
        projects.take_flag(store, project_id, "select_requested")
        work.request(store, project_id, "select")
    for reason in decision.reasons:
        presence.tell(store, project_id, reason)


def situation(workspace: Workspace, now: float | None = None) -> Situation:
    """What the store holds, as the policy sees it."""
    store, project = workspace.store, workspace.project
    labels = submissions.list_annotations(store, project.id)
    current_round = versions.current_round(store, project.id)
    fresh = [row for row in labels if row.round == current_round]
    rows = generations.list_generations(store, project.id)
    waiting = [row for row in rows if row.status in ("selected", "pushing")]
    current = next((row for row in rows if row.status == "current"), None)
    picks = generations.list_picks(store, project.id, current.number) if current else []
    open_frames = {task.frame_id for task in tasks.list_tasks(store, project.id) if not task.is_labeled and not task.skipped}
    live = versions.live(store, project.id)
    jobs = work.list_jobs(store, project.id)
    scored = live is not None and any(row.version_id == live.id for row in rows)
    # A rescan that failed for good is not asked for again by itself: its error stands in the diary.
    given_up = live is not None and any(
        job.status == "failed" and job.kind in ("rescore", "select") and job.arguments.get("version_id") == live.id
        for job in jobs
    )
    return Situation(
        now=time.time() if now is None else now,
        n_frames=frames.count(store, project.id),
        n_labelled=len({row.frame_id for row in labels}),
        new_frames=len({row.frame_id for row in fresh}),
        newest_label_at=max((row.seen_at for row in fresh), default=None),
        train_requested=project.train_requested,
        select_requested=project.select_requested,
        halted=project.halted is not None or project.binding_problem is not None,
        has_model=live is not None,
        live_is_scored=scored or given_up,
        has_generation=bool(rows),
        open_in_window=sum(pick.frame_id in open_frames for pick in picks),
        window=len(picks),
        pushed_at=project.pushed_at,
        selection_waits=bool(waiting),
        selection_has_new_model=bool(waiting) and (current is None or waiting[-1].version_id != current.version_id),
        busy=frozenset(job.kind for job in jobs if job.status in ("pending", "running")),
    )
