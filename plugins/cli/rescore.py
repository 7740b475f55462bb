"""``parallax rescore``: judge the pool again."""

from __future__ import annotations

import typer

from label_config.values import ParallaxError
from plugins.cli.context import console, open_project


def rescore(ctx: typer.Context) -> None:
    """Let the live model judge the pool; ends in a new order."""
    from ml_backend.store import versions, work

    workspace = open_project(ctx)
    if versions.live(workspace.store, workspace.project_id) is None:
        raise ParallaxError("there is no model yet that could judge the pool; label the first frames, or `parallax train`")
    job = work.request(workspace.store, workspace.project_id, "rescore")
    console().print(f"job {job.id}: a worker takes it at the next tick; `parallax status` shows its progress")
