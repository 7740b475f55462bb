"""``parallax robustness``: what blur, light and size do to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from label_config.values import BadInputError, ParallaxError
from plugins.cli.context import console, open_project


def robustness(
    ctx: typer.Context,
    number: Annotated[int | None, typer.Option("--version", help="Number of the version. Default: the live one.")] = None,
    report: Annotated[Path | None, typer.Option(help="CSV to write. Default: robustness-px-N.csv beside parallax.yaml.")] = None,
) -> None:
    """Judge a model on perturbed pictures of the labelled validation frames."""
    from ml_backend.jobs.robustness import measure, write_report
    from ml_backend.store import versions

    workspace = open_project(ctx)
    if number is None:
        version = versions.live(workspace.store, workspace.project_id)
    else:
        known = {row.number: row for row in versions.list_versions(workspace.store, workspace.project_id)}
        if number not in known:
            raise BadInputError(f"--version {number}: expected one of {', '.join(map(str, known)) or 'none yet'}")
        version = known[number]
    if version is None:
        raise ParallaxError("there is no model yet; label the first frames, or `parallax train`")
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
