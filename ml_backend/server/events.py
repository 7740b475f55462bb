"""What Label Studio's events ask for, and what it is answered about the project as a whole."""

from __future__ import annotations

import contextlib
from typing import Any

from label_config.settings.spec_fields import http_address
from ml_backend.store import frames, generations, projects
from ml_backend.store.workspace import Workspace

#: Webhook actions that mean "somebody labelled"; any other is acknowledged and ignored, our own imports among them.
LABEL_ACTIONS = frozenset(
    {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_DELETED", "ANNOTATIONS_CREATED", "ANNOTATIONS_DELETED"}
)
#: The version that stands for "no order has been pushed yet".
NO_VERSION = "px-0.0"


def serving(workspace: Workspace) -> str | None:
    """Return the version that annotators are served, None before the first order."""
    number = workspace.project.generation
    return None if number is None else generations.get(workspace.store, number).name


def note_address(workspace: Workspace, hostname: object) -> None:
    """Label Studio says by which address browsers reach it: it writes that one into addresses of pictures."""
    if not isinstance(hostname, str):
        return
    with contextlib.suppress(ValueError):
        address = http_address(hostname)
        if address != workspace.project.public_url:
            projects.change(workspace.store, public_url=address)
            url = workspace.spec.label_studio.url
            # Only now: that room loads OpenCV, which a process that answers from the store does not need.
            from ml_backend.recordings import wherever_it_is

            frames.readdress(workspace.store, lambda source: wherever_it_is(source, url, address))


def ring(workspace: Workspace, body: dict[str, Any], *, may_train: bool) -> None:
    """Set the flags that an event asks for; a flag that stands already is not written again, however often it rings.

    may_train  the caller may start a training, which the button "Start training" asks for
    """
    action, project, state = body.get("action"), body.get("project"), workspace.project
    if not isinstance(project, dict) or project.get("id") != state.ls_project_id:
        return
    wanted = {"pull_requested": True} if isinstance(action, str) and action in LABEL_ACTIONS else {}
    if action == "START_TRAINING" and may_train:
        wanted = {"pull_requested": True, "train_requested": True}
    new = {flag: True for flag in wanted if not getattr(state, flag)}
    if new:
        projects.change(workspace.store, **new)
