"""``parallax doctor``: every hop, looked at one by one."""

from __future__ import annotations

import typer
from rich.padding import Padding
from rich.text import Text

from plugins.cli.context import console, read_spec

_STYLE = {"ok": "green", "warning": "yellow", "error": "bold red"}
#: Room for the longest state and the longest usual name of a hop.
STATE, HOP = 9, 15


def doctor(ctx: typer.Context) -> None:
    """Check every hop between an annotator and the model; exit 1 when something is wrong."""
    from plugins.label_studio_sync.doctor import examine

    findings = examine(read_spec(ctx))
    out = console(wrap=True)
    for finding in findings:
        line = Text.assemble((f"{finding.state:<{STATE}}", _STYLE[finding.state]), (f"{finding.hop:<{HOP}}", "bold"))
        out.print(line, Text(finding.seen), sep="" if len(finding.hop) < HOP else " ")
        if finding.fix:
            out.print(Padding(Text(f"→ {finding.fix}"), (0, 0, 0, STATE)))
    if any(finding.state == "error" for finding in findings):
        raise typer.Exit(1)
