"""Old predictions of ours are taken away slowly, and never one that an annotator may have open.

Deleting a prediction under an open task destroys the submit.  A generation is therefore left alone on unlabelled tasks
until it is two behind and older than Label Studio's task lock; on labelled tasks it goes as soon as it is past.
"""

from __future__ import annotations

import time

from ml_backend.store import generations, ledger, tasks
from ml_backend.store.generations import Generation
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client

#: One tick spends at most this long on clean-up; single deletes are short transactions of about 1/8 s.
BUDGET_S = 5.0
OURS = "px-"


def clean_up(workspace: Workspace, client: Client, *, budget_s: float = BUDGET_S) -> int:
    """Delete predictions that nobody can have open; returns how many.  Goes on at the next tick where it stopped."""
    project = workspace.project
    everything = generations.list_generations(workspace.store, project.id)
    labelled_too = {g.name: g for g in everything if g.status in ("past", "abandoned")}
    if not labelled_too:
        return 0
    unlabelled_too = {name for name, g in labelled_too.items() if _nobody_has_it_open(g, project.generation, workspace)}
    left: set[str] = set()
    deleted, deadline = 0, time.monotonic() + budget_s
    finished = True
    labelled = {row.ls_task_id: row.is_labeled for row in tasks.list_tasks(workspace.store, project.id)}
    for task, versions in client.prediction_versions(project.ls_project_id).items():
        for version in set(versions) & labelled_too.keys():
            if not labelled.get(task, False) and version not in unlabelled_too:
                left.add(version)
                continue
            if time.monotonic() > deadline:
                finished = False
                break
            deleted += _delete(client, task, version)
        if not finished:
            break
    if finished:
        for name in labelled_too.keys() - left:
            generations.set_status(workspace.store, project.id, labelled_too[name].number, "cleaned")
            _forget(workspace, name)
    return deleted


def _nobody_has_it_open(generation: Generation, current: int | None, workspace: Workspace) -> bool:
    if generation.switched_at is None:  # abandoned: it was never served
        return True
    later = [
        g
        for g in generations.list_generations(workspace.store, workspace.project_id)
        if g.switched_at is not None and g.number > generation.number
    ]
    if current is None or len(later) < 2:
        return False
    replaced_at = min(g.switched_at or 0.0 for g in later)
    return time.time() - replaced_at > workspace.spec.sync.lock_hours * 3600


def _delete(client: Client, task: int, version: str) -> int:
    mine = [p["id"] for p in client.predictions_of(task) if p["model_version"] == version and version.startswith(OURS)]
    for prediction in mine:
        client.delete_prediction(prediction)
    return len(mine)


def _forget(workspace: Workspace, name: str) -> None:
    for entry in ledger.entries(workspace.store, workspace.project_id, "generation"):
        if entry.ls_id == name:
            ledger.undone(workspace.store, entry.id)
