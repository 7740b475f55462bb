"""``parallax resume``: training may go on."""

from __future__ import annotations

import typer

from plugins.cli.context import console, open_project


def resume(ctx: typer.Context) -> None:
    """Let training go on after it stopped and asked."""
    from ml_backend.store import presence, projects

    workspace = open_project(ctx)
    why = workspace.project.halted
    if why is None:
        console().print("training had not stopped")
        return
    projects.change(workspace.store, halted=None)
    presence.settle(workspace.store, "labels lost")
    console().print(f"training goes on; it had stopped because: {why}", markup=False)
