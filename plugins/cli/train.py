"""``parallax train``: ask for a training run."""

from __future__ import annotations

import typer

from plugins.cli.context import console, open_project


def train(ctx: typer.Context) -> None:
    """Train on the labels of this moment, at the next tick."""
    from ml_backend.store import projects

    workspace = open_project(ctx)
    projects.change(workspace.store, workspace.project_id, train_requested=True, pull_requested=True)
    if workspace.project.halted is not None:
        console().print(f"asked for, but training has stopped: {workspace.project.halted}", markup=False)
    else:
        console().print("training was asked for; `parallax status` shows its progress")
