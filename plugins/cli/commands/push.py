"""``parallax push``: a new order for annotators."""

from __future__ import annotations

import typer

from plugins.cli.context import console, open_project


def push(ctx: typer.Context) -> None:
    """Select anew and push the order to Label Studio."""
    from ml_backend.store import projects

    workspace = open_project(ctx)
    # Without a time of the last push there is no least time between two.
    projects.change(workspace.store, select_requested=True, pushed_at=None)
    console().print("a new order was asked for; it is pushed as soon as it is selected")
