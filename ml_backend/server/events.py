"""What Label Studio's events ask for, and what it is answered about the project as a whole."""

from __future__ import annotations

import contextlib
from typing import Any

from label_config.settings.spec_fields import http_address
from ml_backend.server.wishes import Wishes
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


def ring(wishes: Wishes, project_number: int, body: dict[str, Any], *, may_train: bool) -> None:
    """Ask for the flags that an event of the project of this number wants set.

    may_train  the caller may start a training, which the button "Start training" asks for
    """
    action, project = body.get("action"), body.get("project")
    if not isinstance(project, dict) or project.get("id") != project_number:
        return
    if action == "START_TRAINING" and may_train:
        wishes.ask({"pull_requested", "train_requested"})
    elif isinstance(action, str) and action in LABEL_ACTIONS:
        wishes.ask({"pull_requested"})
