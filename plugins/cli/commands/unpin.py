"""``parallax unpin``: let trained models go live again."""

from __future__ import annotations

import typer

from plugins.cli.context import console, open_project


def unpin(ctx: typer.Context) -> None:
    """Let the next good model go live again."""
    from ml_backend.store import versions

    workspace = open_project(ctx)
    if not workspace.project.pinned:
        console().print("no version is pinned")
        return
    versions.unpin(workspace.store)
    console().print("unpinned; the next model that passes the gate goes live")
