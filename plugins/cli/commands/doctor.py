"""``parallax doctor``: every hop, checked one by one."""

from __future__ import annotations

import typer
from rich.table import Table
from rich.text import Text

from plugins.cli.context import console, read_spec

_STYLE = {"ok": "green", "warning": "yellow", "error": "bold red"}


def doctor(ctx: typer.Context) -> None:
    """Check every hop between an annotator and the model; exit 1 when something is wrong."""
    from plugins.label_studio_sync.hop_checks import examine

    findings = examine(read_spec(ctx))
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        text = Text(f"{finding.seen}\n→ {finding.fix}" if finding.fix else finding.seen)
        table.add_row(Text(finding.state, style=_STYLE[finding.state]), Text(finding.hop, style="bold"), text)
    console(wrap=True).print(table)
    if any(finding.state == "error" for finding in findings):
        raise typer.Exit(1)
