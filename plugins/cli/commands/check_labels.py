"""``parallax check-labels``: annotators' points that something contradicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from plugins.cli.context import console, open_project

if TYPE_CHECKING:
    from ml_backend.project.label_problems import LabelProblem


def check_labels(
    ctx: typer.Context,
    most: Annotated[int, typer.Option(min=1, help="At most this many lines, the farthest off first.")] = 50,
    to: Annotated[Path | None, typer.Option(help="Write all of them to this CSV file as well.")] = None,
) -> None:
    """List annotated points that other cameras, limbs, people or frames contradict, with the tasks that show them."""
    from ml_backend.project.label_problems import label_problems

    entries = label_problems(open_project(ctx))
    out = console()
    if to is not None:
        _write(to, entries)
    if not entries:
        out.print("nothing contradicts an annotated point")
        return
    table = Table("task", "frame", "camera", "keypoint", "off", "what may have happened", box=None, pad_edge=False)
    for entry in entries[:most]:
        numbers = ", ".join(map(str, entry.tasks))
        table.add_row(
            numbers,
            Text(str(entry.frame)),
            Text(entry.view or ""),
            Text(entry.keypoint),
            Text(f"{entry.off:.1f} {entry.unit}"),
            Text(entry.advice),
        )
    out.print(table)
    out.print(f"{len(entries)} in all, {min(most, len(entries))} shown", markup=False)


def _write(path: Path, entries: list[LabelProblem]) -> None:
    import csv
    import io

    from label_config.values.atomic_files import replacing

    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("tasks", "sequence", "frame", "camera", "keypoint", "off", "unit", "what may have happened"))
    for entry in entries:
        tasks = " ".join(map(str, entry.tasks))
        place = (tasks, entry.frame.sequence, entry.frame.index, entry.view or "", entry.keypoint)
        table.writerow((*place, f"{entry.off:.2f}", entry.unit, entry.advice))
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
