"""What ``parallax init`` does once it has understood a project: register it, and create what is missing in Label Studio.

Everything done is repeatable: a second init finds what the first one made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.geometry.cameras import Rig
from ml_backend.project.new_binding import take_over_binding
from ml_backend.project.splitting import note_rules, split_of
from ml_backend.recordings import Recording
from ml_backend.store import frames, projects
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import Store, open_store
from ml_backend.store.frames import SequenceRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.adoption_plan import Plan
from plugins.label_studio_sync.client import LabelStudioError
from plugins.label_studio_sync.local_storage import create_storage
from plugins.label_studio_sync.moved_server import take_over
from plugins.label_studio_sync.reason_header import know_header
from plugins.label_studio_sync.tabs import create_tabs
from plugins.label_studio_sync.webhook_and_backend import answers, keep_connected


def carry_out(plan: Plan, secret: str, *, note: Callable[[int | None], None] = lambda number: None) -> Workspace:
    """Do it; a new project that cannot be finished is taken away again.

    secret  what Label Studio will bring when it calls the backend
    note    is given the project's number as soon as there is one, and None when it was taken away again
    """
    store = open_store(plan.spec.store)
    try:
        if plan.project is not None:
            note(plan.project["id"])
            workspace = _set_up(plan, store, plan.project, secret)
        else:
            workspace = _set_up_new(plan, store, secret, note)
        for found in plan.labels:
            found.import_into(workspace, plan.client)
    except BaseException:
        store.close()
        raise
    return workspace


def _set_up_new(plan: Plan, store: Store, secret: str, note: Callable[[int | None], None]) -> Workspace:
    project = plan.client.create_project(plan.spec.label_studio.title, plan.label_config)
    try:
        note(project["id"])
        return _set_up(plan, store, project, secret)
    except BaseException:
        with contextlib.suppress(LabelStudioError):  # then the next try goes on with it: its number is noted
            plan.client.delete_project(project["id"])
            note(None)
        raise


def _set_up(plan: Plan, store: Store, project: dict[str, Any], secret: str) -> Workspace:
    spec, client = plan.spec, plan.client
    spec = spec.model_copy(update={"label_studio": spec.label_studio.model_copy(update={"project": project["id"]})})
    take_over(store, spec, project)
    row = projects.register(
        store, spec.label_studio.url, project["id"], project["created_at"], title=project["title"], seed=spec.train.seed
    )
    workspace = Workspace(spec, store.of_project(row.id), ArrayStore(Path(spec.arrays)))
    create_storage(workspace, client)  # what Label Studio may refuse comes first
    take_over_binding(workspace, plan.binding)
    note_rules(workspace, plan.split)
    for recording, rig in plan.recordings:
        _save_recording(workspace, recording, rig)
    create_tabs(workspace, client)
    know_header(workspace, project["label_config"])
    # Usually init runs before the backend does; `parallax sync` connects it once it answers.
    if answers(spec.backend.url):
        keep_connected(workspace, client, secret)
    return workspace


def _save_recording(workspace: Workspace, recording: Recording, rig: Rig | None) -> None:
    video = recording.fps is not None or len(recording.frames) > 1
    frames.save_sequence(workspace.store, SequenceRow(recording.sequence, rig.to_json() if rig is not None else None, video))
    numbers = np.array([frame.key.index for frame in recording.frames], dtype=np.int64)
    split = split_of(workspace, {recording.sequence: numbers})
    frames.add_frames(
        workspace.store,
        [(frame.key, frame.images, split[frame.key]) for frame in recording.frames],
    )
