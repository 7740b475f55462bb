"""Jobs with their progress, processes with their last sign of life, and the event log."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ml_backend.store import presence, work
from ml_backend.store.statuses import WorkStatus
from ml_backend.store.work import JobRow
from ml_backend.store.workspace import Workspace
from ml_backend.web_page.tables import Table, number

JOBS, EVENTS = 20, 30
#: Processes that were heard of within a day are listed; those not heard of for longer than this count as gone.
A_DAY_S, GONE_S = 86400.0, 90.0


@dataclass(frozen=True)
class Job:
    """One line; ``step`` of ``steps``: 0 of 0 where it does not say."""

    kind: str
    status: str
    stage: str
    step: int
    steps: int
    rest: str
    error: str
    started: str


def jobs(workspace: Workspace) -> list[Job]:
    """The newest first."""
    abandoned = work.abandoned(workspace.store)
    return [_job(row, row.id in abandoned) for row in work.list_jobs(workspace.store, JOBS)]


def _job(row: JobRow, abandoned: bool) -> Job:
    progress = row.progress or {}
    running = row.status is WorkStatus.RUNNING
    parts = []
    if running and isinstance(progress.get("loss"), int | float):
        parts.append(f"loss {number(progress['loss'], '.4g')}")
    if running and isinstance(progress.get("eta_s"), int | float):
        parts.append(f"about {duration(float(progress['eta_s']))} left")
    if abandoned:
        parts.append("its worker is gone; another takes it at the next tick")
    if row.finished_at is not None and row.started_at is not None:
        parts.append(f"took {duration(row.finished_at - row.started_at)}")
    return Job(
        row.kind,
        row.status.value,
        str(progress.get("stage", "")) if running else "",
        int(progress.get("step") or 0) if running else 0,
        int(progress.get("steps") or 0) if running else 0,
        ", ".join(parts),
        row.error or "",
        "–" if row.started_at is None else f"{duration(max(0.0, time.time() - row.started_at))} ago",
    )


def processes(workspace: Workspace) -> Table:
    """Those that were heard of within a day."""
    heard = presence.alive(workspace.store, within_s=A_DAY_S)
    rows = [(name, f"{duration(age)} ago", "alive" if age <= GONE_S else "gone") for name, age in sorted(heard.items())]
    return Table("Processes", ("process", "last sign of life", "state"), rows, "Nothing runs; start `parallax up`.")


def events(workspace: Workspace) -> Table:
    """The newest lines of the event log."""
    rows = [(f"{duration(max(0.0, time.time() - e.at))} ago", e.level.value, e.text) for e in _events(workspace)]
    return Table("Event log, the newest lines", ("when", "level", "what"), rows, "Nothing has happened yet.")


def _events(workspace: Workspace) -> list[presence.Event]:
    return presence.list_events(workspace.store, EVENTS)


def duration(seconds: float) -> str:
    """12 s, 3 min, 2 h or 5 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
