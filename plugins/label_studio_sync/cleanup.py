"""Old predictions of ours are taken away slowly, and never one that an annotator may have open.

Deleting a prediction under an open task destroys the submit, and under an annotation that is being corrected the update.
A generation is therefore left alone on unlabelled tasks until it is two behind and older than Label Studio's task lock;
on labelled tasks it goes when it is past and nobody has touched the annotation for a while.
"""

from __future__ import annotations

import time

from ml_backend.store import generations, ledger, submissions, tasks
from ml_backend.store.fault_points import reach
from ml_backend.store.generations import Generation
from ml_backend.store.statuses import GenerationStatus
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.push_order import MAY_BE_SERVED
from plugins.label_studio_sync.times import instant

#: One tick deletes for at most this long in either pass; single deletes are short transactions of about 1/8 s.
BUDGET_S = 5.0
#: A person may correct an annotation for so long after submitting it, in a window that still refers to the prediction.
QUIET_S = 3600.0
OURS = "px-"


def clean_up(workspace: Workspace, client: Client, *, budget_s: float = BUDGET_S) -> int:
    """Delete predictions that nobody can have open; returns how many.  Goes on at the next tick where it stopped."""
    old = {g.name: g for g in _generations(workspace) if g.status in (GenerationStatus.PAST, GenerationStatus.ABANDONED)}
    closed = [name for name, g in old.items() if _nobody_has_it_open(g, workspace)]
    deleted = 0
    if closed:
        deleted, finished = _delete(workspace, client, set(closed), None, budget_s)
        if finished:
            for name in closed:
                generations.set_status(workspace.store, old[name].number, GenerationStatus.CLEANED)
                _forget(workspace, name)
    settled = _settled(workspace) if old.keys() - closed else set()
    if settled:
        deleted += _delete(workspace, client, old.keys() - closed, settled, budget_s)[0]
    return deleted


def _generations(workspace: Workspace) -> list[Generation]:
    return generations.list_generations(workspace.store)


def _nobody_has_it_open(generation: Generation, workspace: Workspace) -> bool:
    """Two generations behind, and replaced longer ago than Label Studio locks a task for an annotator."""
    entries = ledger.entries(workspace.store, "generation")
    switching = [e.ls_id for e in entries if e.new == MAY_BE_SERVED]
    if generation.switched_at is None and generation.name not in switching:
        return True  # abandoned before the switch: it was never served
    later = [g.switched_at for g in _generations(workspace) if g.switched_at is not None and g.number > generation.number]
    return len(later) >= 2 and time.time() - min(later) > workspace.spec.sync.lock_hours * 3600


def _settled(workspace: Workspace) -> set[int]:
    """Labelled tasks whose annotations have not changed for a while."""
    quiet = min(QUIET_S, workspace.spec.sync.lock_hours * 3600)
    everything = submissions.list_annotations(workspace.store, every=True)
    busy = {row.task_id for row in everything if time.time() - instant(row.updated_at).timestamp() < quiet}
    known = tasks.list_tasks(workspace.store)
    return {task.ls_task_id for task in known if task.is_labeled and task.id not in busy}


def _delete(workspace: Workspace, client: Client, names: set[str], only: set[int] | None, budget_s: float) -> tuple[int, bool]:
    """Delete predictions of these versions, on these tasks (None = all); how many, and whether none is left.

    The clock starts with the first page of the listing: a slow server must not keep every tick from deleting anything.
    """
    deleted, deadline = 0, None
    project = workspace.project.ls_project_id
    wanted = sorted(names) if only is None else [OURS]
    done = True
    for task, held in client.predictions(project, containing=wanted, labelled=only is not None):
        deadline = deadline or time.monotonic() + budget_s
        if time.monotonic() > deadline:
            done = False
            break
        for prediction, version in held.items():
            if version in names and (only is None or task in only):
                reach("cleaning")
                client.delete_prediction(prediction)
                deleted += 1
    if deleted:
        client.recount_predictions(project)
    return deleted, done


def _forget(workspace: Workspace, name: str) -> None:
    for entry in ledger.entries(workspace.store, "generation"):
        if entry.ls_id == name:
            ledger.undone(workspace.store, entry.id)
