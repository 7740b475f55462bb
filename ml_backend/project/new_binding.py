"""A labelling config with other keypoints or views: what was read, predicted or learnt with the one before no longer counts."""

from __future__ import annotations

from typing import Any

from label_config.labelling.binding import Binding
from ml_backend.store import generations, presence, projects, pseudo_labels, submissions, versions
from ml_backend.store.statuses import EventLevel, GenerationStatus
from ml_backend.store.workspace import Workspace

#: What becomes of an order that nobody has been served yet.
_GIVEN_UP = {
    GenerationStatus.SELECTED: GenerationStatus.CLEANED,
    GenerationStatus.PUSHING: GenerationStatus.ABANDONED,
}


def take_over_binding(workspace: Workspace, binding: Binding) -> None:
    """Take over the first binding, or one that differs; then labels are read again, and an order is selected."""
    store, project = workspace.store, workspace.project
    values: dict[str, Any] = {"binding": binding.to_json(), "binding_problem": None}
    if project.binding != values["binding"]:
        values["swept_at"] = None
    if project.generation is None or "swept_at" in values:
        values["select_requested"] = True
    if project.binding is not None:
        before = workspace.binding
        if (before.skeleton.keypoints, before.names) != (binding.skeleton.keypoints, binding.names):
            _put_aside(workspace)
            values |= {"generation": None, "train_requested": workspace.spec.train.auto}
    projects.change(store, **values)


def _put_aside(workspace: Workspace) -> None:
    """Points are stored by their place in the skeleton; with another skeleton they would pass for other keypoints."""
    store, live = workspace.store, versions.live(workspace.store)
    submissions.mark_deleted(store, [row.id for row in submissions.list_annotations(store, every=True)])
    pseudo_labels.withdraw(store, [row.id for row in pseudo_labels.list_pseudo(store)])
    for row in generations.list_generations(store):
        if row.status in _GIVEN_UP:
            generations.set_status(store, row.number, _GIVEN_UP[row.status])
    if live is not None:
        versions.take_down(store)
        text = (
            f"keypoints or views changed: px-{live.number} does not know the new ones and is no longer used; "
            "the next model is trained on all of them, and tasks come without points until then"
        )
        presence.tell(store, text, level=EventLevel.WARNING, key="other keypoints")
