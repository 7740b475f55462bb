"""``parallax sync``: the clock of the exchange with Label Studio."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from plugins.cli.context import connect, console, log_to_stderr, open_project, redis_url
from plugins.cli.processes.signals import own_name, stop_on_signals
from plugins.cli.secrets import find_secret

#: The webhook and the backend entry in Label Studio are looked after this often.
RECONNECT_S = 60.0


def sync(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="One tick, then end.")] = False,
) -> None:
    """Pull labels, decide, push the order; every few seconds until stopped."""
    from ml_backend.jobs.queue import JobQueue
    from plugins.cli.processes.clock import TickClock, describe
    from plugins.label_studio_sync.tick import TickReport, tick
    from plugins.label_studio_sync.webhook_and_backend import keep_connected

    log_to_stderr()
    workspace = open_project(ctx)
    client = connect(workspace.spec, rests=True)
    queue = JobQueue(redis_url(workspace.spec))
    out, owner = console(), own_name()
    if once:
        out.print(describe(tick(workspace, client, queue, owner)) or "nothing to do")
        return
    secret = find_secret(workspace.spec)
    checked_at = -RECONNECT_S

    def beat() -> TickReport:
        nonlocal checked_at
        report = tick(workspace, client, queue, owner)
        if report.led and time.monotonic() - checked_at > RECONNECT_S:
            checked_at = time.monotonic()
            for line in keep_connected(workspace, client, secret):
                out.print(line, markup=False)
        return report

    clock = TickClock(workspace, beat, owner, say=lambda text: out.print(text, markup=False))
    stop_on_signals(clock.stop)
    clock.run()
