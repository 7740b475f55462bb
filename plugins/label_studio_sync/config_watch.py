"""The labelling config may change under us; a label that no longer fits stops training on it, with a clear message."""

from __future__ import annotations

from label_config.binding import bind
from ml_backend.store import presence, projects
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client


def check_config(workspace: Workspace, client: Client) -> None:
    """Bind the project's config again; say what does not fit, and take over what does."""
    project = workspace.project
    current = client.project(project.ls_project_id)
    old = workspace.binding
    new = bind(current["label_config"], old.skeleton, views=old.names, aliases=workspace.spec.aliases)
    if new == old:
        if project.binding_problem:
            projects.change(workspace.store, project.id, binding_problem=None)
            presence.settle(workspace.store, project.id, "config")
        return
    errors = [problem.message for problem in new.problems if problem.severity == "error"]
    if errors:
        text = "the labelling config no longer fits: " + "; ".join(errors)
        projects.change(workspace.store, project.id, binding_problem=text)
        presence.tell(workspace.store, project.id, text, level="error", key="config")
        return
    projects.change(workspace.store, project.id, binding=new.to_json(), binding_problem=None)
    presence.tell(workspace.store, project.id, "the labelling config changed; the new one fits", key="config")
