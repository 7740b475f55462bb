"""``parallax doctor``: every hop, checked one by one."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from plugins.cli.context import console, read_spec

_STYLE = {"ok": "green", "warning": "yellow", "error": "bold red"}


def doctor(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list of hop, state, seen and fix.")] = False,
) -> None:
    """Check every hop between an annotator and the model; exit 1 when something is wrong."""
    from plugins.label_studio_sync.hop_checks import examine

    findings = examine(read_spec(ctx))
    if as_json:
        console().print(json.dumps([asdict(finding) for finding in findings]), markup=False)
        raise typer.Exit(int(any(finding.state == "error" for finding in findings)))
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        text = Text(f"{finding.seen}\n→ {finding.fix}" if finding.fix else finding.seen)
        table.add_row(Text(finding.state, style=_STYLE[finding.state]), Text(finding.hop, style="bold"), text)
    console(wrap=True).print(table)
    if any(finding.state == "error" for finding in findings):
        raise typer.Exit(1)
