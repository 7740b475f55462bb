"""``parallax leave``: take back what was changed in Label Studio."""

from __future__ import annotations

from typing import Annotated

import typer

from plugins.cli.context import connect, console, open_project


def leave(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    remove_tasks: Annotated[
        bool, typer.Option("--remove-tasks", help="Also delete tasks that we imported and nobody has touched.")
    ] = False,
) -> None:
    """Restore the Label Studio project as it was; annotations stay."""
    from plugins.label_studio_sync.take_back import leave as take_back

    workspace = open_project(ctx)
    out = console()
    client = connect(workspace.spec)
    ctx.call_on_close(client.close)
    report = take_back(workspace, client, dry_run=dry_run, remove_tasks=remove_tasks, tell=out.print)
    for line in report.done:
        out.print(f"{'would ' if dry_run else ''}{line}", markup=False)
    for line in report.kept:
        out.print(f"kept: {line}", markup=False)
