"""``parallax scores``: which scores there are, and why a task stands where it stands."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from label_config.values import BadInputError, ParallaxError
from plugins.cli.context import console, open_project

app = typer.Typer(no_args_is_help=True, help="Scores that order the tasks.")


@app.command("list")
def list_scores() -> None:
    """Every score that parallax.yaml may name."""
    from ml_backend.acquisition.score_registry import SCORES

    table = Table("score", "unit", "needs", "what it says", box=None, pad_edge=False)
    for name, make in SCORES.items():
        score = make()
        needs = ", ".join(sorted(item.value for item in score.requires)) or "nothing"
        first_line = (make.__doc__ or "").strip().split("\n")[0]
        table.add_row(Text(name), Text(score.unit), Text(needs), Text(first_line))
    console().print(table)


@app.command()
def explain(ctx: typer.Context, task: Annotated[int, typer.Argument(help="Label Studio's number of the task.")]) -> None:
    """Why a task is at its place in the current order, down to the numbers."""
    from ml_backend.acquisition.explain import explain as in_words
    from ml_backend.acquisition.score_record import ScoreRecord
    from ml_backend.store import generations, tasks

    workspace = open_project(ctx)
    store, project = workspace.store, workspace.project
    row = tasks.by_ls_id(store, task)
    if row is None:
        raise BadInputError(f"task {task}: not known; expected the number of a task of project {project.ls_project_id}")
    if project.generation is None:
        raise ParallaxError("no order has been pushed yet, so no task has a place in it")
    pick = generations.pick_of(store, project.generation, row.frame_id)
    name = generations.get(store, project.generation).name
    if pick is None:
        raise ParallaxError(f"task {task} is not in the current order {name}; tasks outside the window come after it")
    out = console()
    out.print(f"task {task} in {name}: place {pick.rank + 1}, score {pick.score:.4f} (0 is next): {pick.reason}", markup=False)
    if pick.record is not None:
        out.print(in_words(ScoreRecord.from_json(pick.record)), markup=False)
