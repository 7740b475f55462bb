"""``parallax worker``: does the jobs of its queues."""

from __future__ import annotations

from typing import Annotated

import typer

from label_config.values import BadInputError
from plugins.cli.context import console, log_to_stderr, open_project, redis_url

QUEUES = ("infer", "train")


def worker(
    ctx: typer.Context,
    queues: Annotated[str, typer.Option(help="infer, train or both, separated by a comma; the first one goes first.")],
) -> None:
    """Work on queues until stopped: infer (predictions, scores, selection) or train."""
    names = [name.strip() for name in queues.split(",") if name.strip()]
    unknown = [name for name in names if name not in QUEUES]
    if unknown or not names:
        raise BadInputError(f"--queues {queues!r}: expected {', '.join(QUEUES)} or both")
    workspace = open_project(ctx)
    workspace.store.close()
    url = redis_url(workspace.spec)
    from ml_backend.jobs.worker_process import run_worker

    log_to_stderr()
    console().print(f"worker for {', '.join(names)}")
    run_worker(names, url)
