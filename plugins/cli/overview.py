"""What ``parallax status`` says, as plain lines: read from the store alone, so it works while everything else is down."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np

from ml_backend.labels.annotator_agreement import agreement
from ml_backend.project.label_snapshot import as_annotation, pseudo_in_force
from ml_backend.project.round_state import RoundState
from ml_backend.project.several_subjects import FIX, expected
from ml_backend.store import frames, generations, presence, submissions, tasks, versions, work
from ml_backend.store.statuses import OPEN_WORK, WAITING_ORDERS, WorkStatus
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.versions import VersionRow
from ml_backend.store.work import JobRow
from ml_backend.store.workspace import Workspace

Line = tuple[str, str]
ALIVE_WITHIN_S = 90.0
SHOWN_EVENTS = 8
SHOWN_JOBS = 3


def overview(workspace: Workspace) -> Iterator[Line]:
    """(what, how it stands), in the order in which a person asks."""
    project = workspace.project
    yield "project", f"{project.ls_project_id} {project.title!r} on {project.ls_url}"
    if project.binding_problem is not None:
        yield "stopped", project.binding_problem
    if project.halted is not None:
        yield "stopped", project.halted
    yield from _labels(workspace)
    yield from _agreement(workspace)
    yield "split", _split(workspace)
    yield "model", _model(workspace)
    yield "order", _order(workspace)
    yield from _jobs(workspace)
    yield "alive", _alive(workspace)
    yield from _advice(workspace)
    for event in presence.list_events(workspace.store, SHOWN_EVENTS):
        yield event.level, f"{ago(event.at)} {event.text}"


def _labels(workspace: Workspace) -> Iterator[Line]:
    store = workspace.store
    rows = submissions.list_annotations(store)
    round_ = versions.current_round(store)
    labelled = {row.frame_id for row in rows}
    new = {row.frame_id for row in rows if row.round == round_}
    skipped = sum(task.skipped for task in tasks.list_tasks(store))
    pseudo = len(pseudo_in_force(RoundState(workspace)))
    yield (
        "labels",
        f"{len(rows)} annotations of {len(labelled)} frames, of {frames.count(store)}; "
        f"{skipped} tasks skipped, {pseudo} pseudo-labels in force",
    )
    wanted = workspace.spec.train.min_new_frames
    if not workspace.spec.train.auto:
        pace = "training starts when asked for"
    elif len(new) < wanted:
        pace = f"not enough yet: {len(new)} of {wanted} new labelled frames; training starts there, or after a pause"
    else:
        pace = f"{len(new)} new labelled frames"
    yield "round", f"{round_}: {pace}"
    pulled_at = workspace.project.pulled_at
    several = RoundState(workspace).of_several
    if several:
        yield "left out", f"{len(several)} labelled frames hold too many subjects: {expected(workspace.spec.subjects.max)}; {FIX}"
    yield (
        "labels read",
        "not yet" if pulled_at is None else f"from Label Studio {duration(max(0.0, time.time() - pulled_at))} ago",
    )
    distance = edit_summary([row for row in rows if row.edit])
    if distance:
        yield "corrections", distance


def edit_summary(rows: list[AnnotationRow]) -> str:
    """How much people changed of what they were shown; empty when nothing was shown yet."""
    edits = [edit for row in rows for edit in (row.edit or {}).values()]
    counts: Counter[str] = Counter()
    for edit in edits:
        counts.update({name: int(edit[name]) for name in ("untouched", "moved", "added", "removed")})
    shown = counts["untouched"] + counts["moved"] + counts["removed"]
    if not shown:
        return ""
    moved = [edit["moved_median_px"] for edit in edits if edit["moved_median_px"] is not None]
    how_far = f", typically by {median(moved):.1f} px" if moved else ""
    return (
        f"of {shown} points shown {counts['untouched'] / shown:.0%} were left, {counts['moved'] / shown:.0%} moved{how_far}, "
        f"{counts['removed'] / shown:.0%} removed; {counts['added']} added"
    )


def _agreement(workspace: Workspace) -> Iterator[Line]:
    """How far people agree who labelled the same tasks."""
    by_task: dict[int, list[AnnotationRow]] = defaultdict(list)
    for row in submissions.list_annotations(workspace.store):
        by_task[row.task_id].append(row)
    found = agreement([as_annotation(row) for row in rows] for rows in by_task.values() if len(rows) > 1)
    if not found.tasks:
        return
    text = f"{found.tasks} tasks labelled by more than one of {found.people} people"
    if len(found.distance_px):
        half, most = np.percentile(found.distance_px, (50, 90))
        text += f": half of {len(found.distance_px)} points lie within {half:.1f} px of each other, 9 of 10 within {most:.1f} px"
    if found.one_sided:
        text += f"; {found.one_sided} points only one of two placed"
    if len(found.by_pair) > 1:
        (first, second), apart = max(found.by_pair.items(), key=lambda item: item[1])
        text += f"; furthest apart are users {first} and {second}: {apart:.1f} px in the median"
    yield "agreement", text


def _split(workspace: Workspace) -> str:
    count = frames.count_splits(workspace.store)
    text = f"{count.get('train', 0)} frames to learn from, {count.get('val', 0)} to measure with"
    return text + (f", {count['guard']} beside those left out" if count.get("guard") else "")


def _model(workspace: Workspace) -> str:
    live = versions.live(workspace.store)
    if live is None:
        return "none yet; the first is trained on the first labels"
    pinned = " (pinned; `parallax unpin` lets newer ones go live)" if workspace.project.pinned else ""
    return f"px-{live.number}{pinned}: {_learnt(workspace, live)}{_metrics(workspace, live)}"


def _learnt(workspace: Workspace, version: VersionRow) -> str:
    """How many labels the version was trained on; empty for one that did not note it."""
    learnt = version.metrics.get("learnt_frames")
    labelled = {row.id: row.n_frames for row in versions.list_snapshots(workspace.store)}
    if learnt is None or version.snapshot_id not in labelled:
        return ""
    left_out = int(version.metrics.get("left_out_pictures") or 0)
    lacking = f", {left_out} of their pictures could not be used" if left_out else ""
    return f"learnt from {learnt} of {labelled[version.snapshot_id]} labelled frames{lacking}; "


def _metrics(workspace: Workspace, version: VersionRow) -> str:
    held_out = int(version.metrics.get("validation_frames") or 0)
    error, before = _number(version.metrics.get("validation_px")), _number(version.metrics.get("previous_px"))
    if error is None:
        return f"not enough yet: no validation frame is labelled, of {workspace.spec.gate.min_frames} that the gate needs"
    text = f"{_error(error, version.metrics.get('validation_median_px'))} on {held_out} validation frames"
    if before is not None:
        text += f", the one before {_error(before, version.metrics.get('previous_median_px'))}"
    world = _number(version.metrics.get("validation_world"))
    if world is not None:
        text += f"; {world:.2f} {version.metrics.get('world_unit') or 'in the unit of the calibration'} in 3-D on average"
    # The gate's own words, as the event log has them: it counts the frames on which both models have an error.
    return f"{text}; gate: {version.metrics['gate']}" if version.metrics.get("gate") else text


def _error(mean_px: float, median_px: Any) -> str:
    """Both figures: a few points that are far off move the mean, and not the median."""
    middle = _number(median_px)
    return f"{mean_px:.2f} px on average" + ("" if middle is None else f" and {middle:.2f} px in the median")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _order(workspace: Workspace) -> str:
    number = workspace.project.generation
    rows = generations.list_generations(workspace.store)
    waiting = [row.name for row in rows if row.status in WAITING_ORDERS]
    follows = f"; {waiting[-1]} waits to be pushed" if waiting else ""
    if number is None:
        return f"none pushed yet{follows}"
    name = next(row.name for row in rows if row.number == number)
    picks = generations.list_picks(workspace.store, number)
    known = tasks.list_tasks(workspace.store)
    labelled = {row.frame_id for row in submissions.list_annotations(workspace.store)}
    open_frames = {task.frame_id for task in known if not task.is_labeled}
    wanted = open_frames - labelled - {task.frame_id for task in known if task.skipped}
    window = [pick for pick in picks if pick.in_window]
    left = sum(pick.frame_id in wanted for pick in window)
    others = sum(pick.frame_id in open_frames for pick in picks) - left
    behind = f", {others} more come after them" if others else ""
    return f"{name}: {left} of {len(window)} frames of the window are open{behind}{follows}"


def _jobs(workspace: Workspace) -> Iterator[Line]:
    rows = work.list_jobs(workspace.store)
    current = [row for row in rows if row.status in OPEN_WORK]
    abandoned = work.abandoned(workspace.store)
    for row in current[:SHOWN_JOBS]:
        yield row.kind, job_line(row, abandoned=row.id in abandoned)
    failed = next((row for row in rows if row.status is WorkStatus.FAILED), None)
    if failed is not None and not any(
        row.kind == failed.kind and row.status is WorkStatus.DONE and row.id > failed.id for row in rows
    ):
        yield failed.kind, f"failed: {failed.error}"


def job_line(job: JobRow, *, abandoned: bool) -> str:
    """State and progress of a job; ``abandoned``: its worker let the lease run out."""
    if job.status is WorkStatus.PENDING:
        return f"waits for a worker{f' after: {job.error}' if job.error else ''}"
    progress = job.progress or {}
    parts = [str(progress.get("stage", "started"))]
    if progress.get("steps"):
        parts.append(f"{progress.get('step', 0)} of {progress['steps']}")
    loss, eta = _number(progress.get("loss")), _number(progress.get("eta_s"))
    if loss is not None:
        parts.append(f"loss {loss:.4g}")
    if (validation := _number(progress.get("validation_px"))) is not None:
        parts.append(f"{validation:.2f} px off on frames held out")
    if eta is not None:
        parts.append(f"about {duration(eta)} left")
    if abandoned:
        parts.append("its worker is gone; another takes it at the next tick")
    return ", ".join(parts)


def _alive(workspace: Workspace) -> str:
    seen = presence.alive(workspace.store, within_s=ALIVE_WITHIN_S)
    return ", ".join(f"{name} ({age:.0f} s ago)" for name, age in sorted(seen.items())) or "nothing runs; start `parallax up`"


def _advice(workspace: Workspace) -> Iterator[Line]:
    from ml_backend.evaluation.stop_advice import learning_forecast, stop_advice

    yield "stop?", stop_advice(workspace).text
    ahead = learning_forecast(workspace)
    if ahead is not None:
        yield "forecast", ahead.text()


def ago(at: float) -> str:
    """How long ago, shortly."""
    return f"{duration(max(0.0, time.time() - at))} ago:"


def duration(seconds: float) -> str:
    """12 s, 3 min, 2 h or 5 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
