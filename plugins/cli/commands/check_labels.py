"""``parallax check-labels``: annotators' points that the other cameras contradict."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from plugins.cli.context import console, open_project


def check_labels(
    ctx: typer.Context,
    most: Annotated[int, typer.Option(min=1, help="At most this many lines, the farthest off first.")] = 50,
) -> None:
    """List annotated points that the other calibrated cameras contradict, with the tasks that show them."""
    from ml_backend.project.contradicted_labels import contradicted_labels

    entries = contradicted_labels(open_project(ctx))
    out = console()
    if not entries:
        out.print("the cameras agree on every annotated point")
        return
    table = Table("task", "frame", "camera", "keypoint", "off, px", "what may have happened", box=None, pad_edge=False)
    for entry in entries[:most]:
        numbers = ", ".join(map(str, entry.tasks))
        table.add_row(
            numbers,
            Text(str(entry.frame)),
            Text(entry.view or ""),
            Text(entry.keypoint),
            f"{entry.off_px:.1f}",
            Text(entry.advice),
        )
    out.print(table)
    out.print(f"{len(entries)} in all, {min(most, len(entries))} shown", markup=False)
