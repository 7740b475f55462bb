"""``parallax screen``: another layout for the labelling screen of a project that exists."""

from __future__ import annotations

from typing import Annotated

import typer

from plugins.cli.context import connect, console, open_project


def screen(
    ctx: typer.Context,
    write: Annotated[bool, typer.Option("--write", help="Change the project; else the difference is only shown.")] = False,
) -> None:
    """Show a labelling config with all cameras in sight and one key per keypoint; --write puts it into the project."""
    from plugins.label_studio_sync.labelling_screen import plan_screen, write_screen

    workspace = open_project(ctx)
    out = console()
    client = connect(workspace.spec)
    ctx.call_on_close(client.close)
    planned = plan_screen(workspace, client)
    if not planned.difference:
        out.print("the screen is arranged like this already")
        return
    for line in planned.difference:
        out.print(line, markup=False)
    if write:
        write_screen(workspace, client, planned)
        out.print("written; annotators see it when they open the next task, and `parallax leave` restores the former one")
    else:
        out.print("nothing was changed; `parallax screen --write` writes it", markup=False)
