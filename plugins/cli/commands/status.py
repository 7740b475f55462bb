"""``parallax status``: how things stand."""

from __future__ import annotations

import typer
from rich.table import Table
from rich.text import Text

from plugins.cli.context import console, open_project

_STYLE = {"stopped": "bold red", "error": "red", "warning": "yellow"}


def status(ctx: typer.Context) -> None:
    """Labels, model, order, jobs, processes, advice and the last events."""
    from plugins.cli.overview import overview

    table = Table.grid(padding=(0, 2))
    for name, text in overview(open_project(ctx)):
        table.add_row(Text(name, style=_STYLE.get(name, "bold")), Text(text))
    console(wrap=True).print(table)
