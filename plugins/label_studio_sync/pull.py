"""What people did since the last look: new, edited, skipped and deleted annotations, and tasks that came or went.

Label Studio is the truth.  A pull asks for the tasks changed since the cursor (its own clock, minus an overlap) and
compares; a full sweep now and then finds what no change time says, such as deleted tasks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from label_config.values import ParallaxError
from ml_backend.store import presence, projects, submissions, tasks
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.config_watch import check_config
from plugins.label_studio_sync.picture_sizes import measure_pictures
from plugins.label_studio_sync.task_reader import TaskReader
from plugins.label_studio_sync.times import before, instant
from plugins.label_studio_sync.which_project import named_project

#: Read again behind the cursor: clocks of several server processes may differ by seconds.
OVERLAP = timedelta(minutes=5)
#: Enough to see whether anything changed; annotations come with number and time only, without what they say.
SWEEP_FIELDS = "id,data,created_at,updated_at,is_labeled,annotations,was_cancelled"


@dataclass
class PullReport:
    """What one pull found; ``settings`` are the project's in Label Studio at that moment."""

    settings: Mapping[str, Any] = field(repr=False)
    swept: bool = False
    changed: int = 0
    deleted: int = 0
    problems: list[str] = field(default_factory=list)


def pull(workspace: Workspace, client: Client, *, full: bool = False) -> PullReport:
    """Bring the store up to date with Label Studio.  Running it twice changes nothing more."""
    settings = named_project(client, workspace.project.ls_project_id)
    _same_project(workspace, settings)
    check_config(workspace, settings["label_config"])
    project = workspace.project
    known = tasks.list_tasks(workspace.store)
    fewer = (settings.get("task_number") or 0) < len(known)
    report = PullReport(settings, swept=full or fewer or project.cursor is None or _sweep_is_due(workspace))
    reader = TaskReader(workspace, client, again=project.swept_at is None)
    if report.swept:
        _sweep(workspace, client, reader)
    else:
        reader.read(client.tasks(project.ls_project_id, since=before(project.cursor or "", OVERLAP)))
    if report.swept or reader.changed:
        _size_pictures(workspace, client, reader)
    report.changed, report.deleted = reader.changed, reader.lost
    report.problems = reader.problems
    _guard_against_loss(workspace, reader)
    values: dict[str, Any] = {"pulled_at": time.time()}
    if report.swept:
        values["swept_at"] = time.time()
    newest = max(filter(None, (reader.newest, project.cursor)), key=instant, default=None)
    if newest is not None:
        values["cursor"] = newest
    projects.change(workspace.store, **values)
    return report


def _same_project(workspace: Workspace, settings: Mapping[str, Any]) -> None:
    """A Label Studio that was wiped gives the same numbers again; its empty project must not pass for lost labels."""
    held = workspace.project
    if instant(settings["created_at"]) != instant(held.ls_created_at):
        raise ParallaxError(
            f"project {held.ls_project_id} on {held.ls_url} was created at {settings['created_at']}, the one set up here at "
            f"{held.ls_created_at}: it is another project under the same number. Run `parallax init` to set that one up; "
            "labels of the former project stay in the store"
        )


def _sweep_is_due(workspace: Workspace) -> bool:
    swept_at = workspace.project.swept_at
    # A clock that was set back must not keep it from being due.
    return swept_at is None or abs(time.time() - swept_at) > workspace.spec.sync.full_sweep_minutes * 60


def _sweep(workspace: Workspace, client: Client, reader: TaskReader) -> None:
    """Read every task: cheaply first, in full only where something differs."""
    listed: set[int] = set()
    differing = []
    ls_project = workspace.project.ls_project_id
    for item in client.tasks(ls_project, fields=SWEEP_FIELDS):
        listed.add(item["id"])
        reader.notice(item["updated_at"])
        if reader.differs(item):
            differing.append(item["id"])
    everything = len(differing) > len(listed) // 4
    reader.read(client.tasks(ls_project) if everything else client.tasks_by_id(ls_project, differing, raw=True))
    reader.forget([number for number, row in reader.tasks.items() if number not in listed and not row.deleted])


def _size_pictures(workspace: Workspace, client: Client, reader: TaskReader) -> None:
    """Annotations of converters may lack the size of their picture; their percents become pixels once it was measured."""
    waiting = {row.task_id for row in submissions.list_annotations(workspace.store) if row.unsized}
    known = [task for task in tasks.list_tasks(workspace.store) if task.id in waiting]
    if not known:
        return
    sized = measure_pictures(workspace, [task.frame_id for task in known])
    numbers = [task.ls_task_id for task in known if task.frame_id in sized]
    reader.read_again(client.tasks_by_id(workspace.project.ls_project_id, numbers, raw=True))


def _guard_against_loss(workspace: Workspace, reader: TaskReader) -> None:
    """A pull that loses a large share of all labels may be a mistake: training stops and a person is asked."""
    if reader.lost < 2 or reader.lost <= workspace.spec.stop_labels_loss * reader.labels_before:
        return
    text = (
        f"{reader.lost} of {reader.labels_before} annotations disappeared from Label Studio in one pull. Training has stopped. "
        "If this was meant, run `parallax resume`; what they said is still in the store and in `parallax backup` archives"
    )
    projects.change(workspace.store, halted=text)
    presence.tell(workspace.store, text, level=EventLevel.ERROR, key="labels lost")
