"""Where things of Label Studio are, for a person's browser."""

from __future__ import annotations

from ml_backend.store.projects import Project


def task_address(project: Project, ls_task_id: int) -> str:
    """The task, opened in the data manager."""
    server = (project.public_url or project.ls_url).rstrip("/")
    return f"{server}/projects/{project.ls_project_id}/data?task={ls_task_id}"


def data_manager(project: Project) -> str:
    """All tasks."""
    return f"{(project.public_url or project.ls_url).rstrip('/')}/projects/{project.ls_project_id}/data"
