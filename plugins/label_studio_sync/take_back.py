"""Leaving a project: what we changed is restored, what we created is removed, what people labelled stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ml_backend.store import generations, ledger, presence, projects, submissions, tasks
from ml_backend.store.ledger import Entry
from ml_backend.store.statuses import GenerationStatus
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client, LabelStudioError
from plugins.label_studio_sync.labelling_screen import restore_screen
from plugins.label_studio_sync.our_predictions import our_predictions
from plugins.label_studio_sync.reason_header import remove_header
from plugins.label_studio_sync.task_identity import IDENTITY_FIELDS, is_another
from plugins.label_studio_sync.which_project import NoProjectError, named_project


@dataclass
class LeaveReport:
    """What was, or in a dry run would be, done; ``kept`` says what stays and why."""

    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def leave(
    workspace: Workspace,
    client: Client,
    *,
    dry_run: bool = False,
    remove_tasks: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> LeaveReport:
    """Restore the project.  Interrupted, it goes on where it stopped.

    Tasks that we imported stay unless ``remove_tasks``, and even then one with an annotation or a draft is never deleted.
    ``tell`` is given the progress of what takes long.
    """
    report = LeaveReport()
    entries = ledger.entries(workspace.store)
    try:
        named_project(client, workspace.project.ls_project_id)
    except NoProjectError:
        _forget(workspace, entries, report, dry_run)
        return report
    # The order matters: nothing may be served from predictions that are about to go.
    for kind in ("webhook", "ml_backend", "project_field", "task_data", "view", "screen", "header"):
        for entry in entries:
            if entry.kind == kind:
                _undo(workspace, client, entry, report, dry_run)
    held = our_predictions(client, workspace.project.ls_project_id)
    if held.count:
        report.done.append(f"delete {held.count} predictions (an annotator who has a task open must reload it)")
    if not dry_run:
        held.delete(client, workspace.project.ls_project_id, tell)
        for entry in ledger.entries(workspace.store, "generation"):
            ledger.undone(workspace.store, entry.id)
    left = _tasks_that_stay(workspace, client, report, dry_run, remove_tasks)
    for entry in entries:
        if entry.kind != "local_storage":
            continue
        if left:
            report.kept.append(f"local storage {entry.ls_id}, which serves the pictures of these {left} tasks")
        else:
            _undo(workspace, client, entry, report, dry_run)
    if any(name.partition("@")[0] == "sync" for name in presence.alive(workspace.store)):
        report.kept.append("warning: `parallax sync` is running and would set the project up again; stop it")
    labels = submissions.count(workspace.store)
    report.kept.append(f"{labels} annotations")
    return report


def _forget(workspace: Workspace, entries: Sequence[Entry], report: LeaveReport, dry_run: bool) -> None:
    """The project is gone, and with it everything of ours that was in it."""
    project = workspace.project
    report.done.append(f"forget what was changed in project {project.ls_project_id}: Label Studio has it no more")
    report.kept.append(f"{submissions.count(workspace.store)} annotations in Parallax's store; `parallax export` writes them")
    if dry_run:
        return
    for entry in entries:
        ledger.undone(workspace.store, entry.id)
    projects.change(workspace.store, generation=None)


def _undo(workspace: Workspace, client: Client, entry: Entry, report: LeaveReport, dry_run: bool) -> None:
    project = workspace.project.ls_project_id
    actions: dict[str, tuple[str, Callable[[], object]]] = {
        "webhook": (f"delete webhook {entry.ls_id}", lambda: client.delete_webhook(int(entry.ls_id))),
        "ml_backend": (f"disconnect ML backend {entry.ls_id}", lambda: client.disconnect_backend(int(entry.ls_id))),
        "view": (f"delete tab {entry.ls_id}", lambda: client.delete_view(int(entry.ls_id))),
        "local_storage": (f"delete local storage {entry.ls_id}", lambda: client.delete_local_storage(int(entry.ls_id))),
        "header": ("take our line out of the labelling config", lambda: remove_header(client, project)),
        "screen": ("put the former labelling config back", lambda: restore_screen(client, project, entry)),
        "project_field": (
            f"set {entry.ls_id} back to {entry.old!r}",
            lambda: _restore_field(client, project, entry, report),
        ),
        "task_data": (f"restore the data of task {entry.ls_id}", lambda: _restore_data(workspace, client, entry)),
    }
    text, act = actions[entry.kind]
    report.done.append(text)
    if dry_run:
        return
    try:
        act()
    except LabelStudioError as error:
        if error.status != 404:
            raise
    ledger.undone(workspace.store, entry.id)
    number = workspace.project.generation
    if entry.kind == "project_field" and entry.ls_id == "model_version" and number is not None:
        generations.set_status(workspace.store, number, GenerationStatus.CLEANED)
        projects.change(workspace.store, generation=None)


def _restore_field(client: Client, project: int, entry: Entry, report: LeaveReport) -> None:
    try:
        client.change_project(project, **{entry.ls_id: entry.old or ""})
    except LabelStudioError as error:
        if error.status != 400 or entry.ls_id != "model_version":
            raise
        client.change_project(project, model_version="")
        report.kept.append(f"model_version was {entry.old!r}; it exists no more, so that none is set")


def _restore_data(workspace: Workspace, client: Client, entry: Entry) -> None:
    number, ls_project = int(entry.ls_id), workspace.project.ls_project_id
    listed = list(client.tasks_by_id(ls_project, [number], fields=IDENTITY_FIELDS, raw=True))
    row = tasks.by_ls_id(workspace.store, number)
    if not listed or row is None or is_another(row, listed[0]):  # deleted since
        return
    data = dict(listed[0]["data"])
    for name, value in {"parallax_check": None, **entry.old}.items():
        if value is None:
            data.pop(name, None)
        else:
            data[name] = value
    client.change_task_data(int(entry.ls_id), data)
    tasks.save(workspace.store, [{"ls_task_id": int(entry.ls_id), "pseudo": False, "reason": None, "check": None}])


def _tasks_that_stay(workspace: Workspace, client: Client, report: LeaveReport, dry_run: bool, remove: bool) -> int:
    """Tasks that we imported and that are left in the end."""
    ours = {row.ls_task_id: row for row in tasks.list_tasks(workspace.store) if row.ours}
    if not ours:
        return 0
    if not remove:
        report.kept.append(f"{len(ours)} tasks that were imported (`--remove-tasks` deletes those that nobody has touched)")
        return len(ours)
    left = 0
    # Only what nobody has touched; drafts of others show in the listing alone.
    fields = f"{IDENTITY_FIELDS},total_annotations,cancelled_annotations,draft_exists"
    for task in client.tasks_by_id(workspace.project.ls_project_id, list(ours), fields=fields, raw=True):
        number = task["id"]
        if is_another(ours[number], task):
            report.kept.append(f"task {number}: it is another one now, under the number of a deleted task of ours")
            continue
        if task["total_annotations"] or task["cancelled_annotations"] or task["draft_exists"]:
            report.kept.append(f"task {number}: a person worked on it")
            left += 1
            continue
        report.done.append(f"delete task {number}")
        if not dry_run:
            client.delete_task(number)
            tasks.mark_deleted(workspace.store, [number])
    return left
