"""``parallax robustness``: what blur, light and size do to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from plugins.cli.context import chosen_version, console, open_project


def robustness(
    ctx: typer.Context,
    number: Annotated[int | None, typer.Option("--version", help="Number of the version. Default: the live one.")] = None,
    report: Annotated[Path | None, typer.Option(help="CSV to write. Default: robustness-px-N.csv beside parallax.yaml.")] = None,
) -> None:
    """Evaluate a model on perturbed pictures of the labelled validation frames."""
    from ml_backend.evaluation.perturbed_pictures import measure, write_report

    workspace = open_project(ctx)
    version = chosen_version(workspace, number)
    rows = measure(workspace, version)
    target = report or workspace.spec.folder / f"robustness-px-{version.number}.csv"
    write_report(rows, target)
    table = Table("perturbation", "points", "error, px", "clean, px", "change, px (95 %)", box=None, pad_edge=False)
    for row in rows:
        change = row.change
        words = f"{change.delta:+.2f} ({change.lo:+.2f} … {change.hi:+.2f})" if row.name != rows[0].name else ""
        table.add_row(Text(row.name), str(row.points), f"{row.error_px:.2f}", f"{row.clean_px:.2f}", words)
    out = console()
    out.print(f"px-{version.number} on labelled validation frames", markup=False)
    out.print(table)
    out.print(f"written to {target}", markup=False)
