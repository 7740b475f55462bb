"""``parallax rescore``: score the pool again."""

from __future__ import annotations

import typer

from label_config.values import ParallaxError
from plugins.cli.context import console, open_project


def rescore(ctx: typer.Context) -> None:
    """Let the live model score the pool; ends in a new order."""
    from ml_backend.store import versions, work
    from ml_backend.store.statuses import JobKind

    workspace = open_project(ctx)
    live = versions.live(workspace.store)
    if live is None:
        raise ParallaxError("there is no model yet that could score the pool; label the first frames, or `parallax train`")
    # Its results may lie there already; who asks wants them anew, because they are damaged or pictures have changed.
    work.drop_shards(workspace.store, live.id, versions.current_round(workspace.store))
    job = work.request(workspace.store, JobKind.RESCORE)
    console().print(f"job {job.id}: a worker takes it at the next tick; `parallax status` shows its progress")
