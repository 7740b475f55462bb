"""What ``parallax init`` does once it has understood a project: register it, and create what is missing in Label Studio.

Everything done is repeatable: a second init finds what the first one made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from label_config.binding import Binding
from ml_backend.geometry.cameras import Rig
from ml_backend.labels.split import assign_split
from ml_backend.recordings import Recording
from ml_backend.store import frames, presence, projects, submissions
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.frames import SequenceRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.adopt import Plan
from plugins.label_studio_sync.client import LabelStudioError
from plugins.label_studio_sync.connection import connect
from plugins.label_studio_sync.storage import create_storage
from plugins.label_studio_sync.tabs import create_tabs


def carry_out(plan: Plan, secret: str) -> Workspace:
    """Do it.  ``secret`` is what Label Studio will bring when it calls the backend."""
    spec, client = plan.spec, plan.client
    project = plan.project or client.create_project(spec.label_studio.title, plan.label_config)
    spec = spec.model_copy(update={"label_studio": spec.label_studio.model_copy(update={"project": project["id"]})})
    store = open_store(spec.store)
    row = projects.register(
        store, spec.label_studio.url, project["id"], project["created_at"], title=project["title"], seed=spec.train.seed
    )
    workspace = Workspace(spec, store, ArrayStore(Path(spec.arrays)), row.id)
    _take_over_binding(workspace, plan.binding)
    for recording, rig in plan.recordings:
        _save_recording(workspace, recording, rig)
    create_storage(workspace, client)
    create_tabs(workspace, client)
    try:
        for line in connect(workspace, client, secret):
            presence.tell(store, row.id, line)
    except LabelStudioError as error:
        # Everything works without: the queue is served by Label Studio itself, labels are found by polling.
        presence.tell(store, row.id, f"backend not registered: {error}", level="warning", key="connect")
    for found in plan.labels:
        found.import_into(workspace, client)
    return workspace


def _take_over_binding(workspace: Workspace, binding: Binding) -> None:
    """The first one, or one that differs: then labels are read again, all of them when their points changed places."""
    store, project = workspace.store, workspace.project
    values: dict[str, Any] = {"binding": binding.to_json(), "binding_problem": None}
    if project.binding != values["binding"]:
        values["swept_at"] = None
    if project.binding is not None:
        before = workspace.binding
        if (before.skeleton.keypoints, before.names) != (binding.skeleton.keypoints, binding.names):
            rows = submissions.list_annotations(store, project.id, every=True)
            submissions.mark_deleted(store, project.id, [row.ls_annotation_id for row in rows])
    if project.generation is None or "swept_at" in values:
        values["select_requested"] = True
    projects.change(store, project.id, **values)


def _save_recording(workspace: Workspace, recording: Recording, rig: Rig | None) -> None:
    rules, project = workspace.spec.validation, workspace.project
    video = recording.fps is not None or len(recording.frames) > 1
    frames.save_sequence(
        workspace.store, project.id, SequenceRow(recording.sequence, rig.to_json() if rig is not None else None, video)
    )
    splits = assign_split(
        recording.sequence,
        np.array([frame.key.index for frame in recording.frames]),
        fraction=rules.fraction,
        block_frames=rules.block_frames,
        guard_frames=rules.guard_frames,
        seed=project.seed,
    )
    frames.add_frames(
        workspace.store,
        project.id,
        [(frame.key, frame.images, str(split)) for frame, split in zip(recording.frames, splits, strict=True)],
    )
