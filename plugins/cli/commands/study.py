"""``parallax study``: published claims put to the test on the capture studio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from plugins.cli.context import console

if TYPE_CHECKING:
    from ml_backend.simulation.studies.summary import SummarySection

app = typer.Typer(no_args_is_help=True, help="Put published claims to the test on the capture studio.")

Seeds = Annotated[int, typer.Option(min=1, help="Number of repetitions, each with takes of its own.")]
FirstSeed = Annotated[int, typer.Option(min=0, help="Number of the first one.")]
Setting = Annotated[list[str] | None, typer.Option("--set", help="field=value of the study; repeat.")]


@app.command()
def harvest(
    seeds: Seeds = 5,
    first_seed: FirstSeed = 0,
    setting: Setting = None,
    out: Annotated[Path, typer.Option(help="Folder of results.csv.")] = Path(".bench/studies/harvest"),
) -> None:
    """Does a generic network gain by labels harvested on a new take?  Resumes where it was stopped."""
    from ml_backend.simulation.experiments.learner import fast_precision
    from ml_backend.simulation.studies.harvesting import HarvestStudy, run
    from ml_backend.simulation.studies.study_table import changed
    from ml_backend.simulation.studies.summary import harvest_sections

    study = changed(HarvestStudy(precision=fast_precision()), setting or [])
    _show(harvest_sections(run(study, range(first_seed, first_seed + seeds), out, typer.echo)), out)


@app.command()
def bad_poses(
    seeds: Seeds = 5,
    first_seed: FirstSeed = 0,
    setting: Setting = None,
    out: Annotated[Path, typer.Option(help="Folder of results.csv.")] = Path(".bench/studies/bad-poses"),
) -> None:
    """Which score separates corrupted poses from clean ones?"""
    from ml_backend.simulation.studies.bad_poses import BadPosesStudy, run
    from ml_backend.simulation.studies.study_table import changed
    from ml_backend.simulation.studies.summary import bad_poses_sections

    study = changed(BadPosesStudy(), setting or [])
    _show(bad_poses_sections(run(study, range(first_seed, first_seed + seeds), out, typer.echo)), out)


@app.command()
def limbs(
    seeds: Seeds = 5,
    first_seed: FirstSeed = 0,
    setting: Setting = None,
    out: Annotated[Path, typer.Option(help="Folder of results.csv.")] = Path(".bench/studies/limbs"),
) -> None:
    """Which score of a single picture knows how wrong the network is, and do limbs repair it?  Resumes where it was stopped."""
    from ml_backend.simulation.experiments.learner import fast_precision
    from ml_backend.simulation.studies.limb_likelihoods import LimbStudy, run
    from ml_backend.simulation.studies.study_table import changed
    from ml_backend.simulation.studies.summary import limb_sections

    study = changed(LimbStudy(precision=fast_precision()), setting or [])
    _show(limb_sections(run(study, range(first_seed, first_seed + seeds), out, typer.echo)), out)


@app.command()
def recipes(
    seeds: Seeds = 5,
    first_seed: FirstSeed = 0,
    setting: Setting = None,
    out: Annotated[Path, typer.Option(help="Folder of results.csv.")] = Path(".bench/studies/recipes"),
    data: Annotated[Path | None, typer.Option(envvar="PARALLAX_DATA", help="Folder of labelled recordings.")] = None,
) -> None:
    """Which training recipe gives the best points for a number of labels?  Resumes where it was stopped."""
    from ml_backend.simulation.experiments.learner import fast_precision
    from ml_backend.simulation.studies.study_table import changed
    from ml_backend.simulation.studies.summary import recipe_sections
    from ml_backend.simulation.studies.training_recipes import RecipeStudy, run

    study = changed(RecipeStudy(precision=fast_precision()), setting or [])
    rows = run(study, range(first_seed, first_seed + seeds), out, data, typer.echo)
    _show(recipe_sections(rows, study.recipes), out)


def _show(sections: list[SummarySection], folder: Path) -> None:
    out = console()
    for section in sections:
        table = Table(*section.columns, box=None, pad_edge=False)
        for line in section.lines:
            table.add_row(*map(Text, line))
        out.print(section.title, markup=False)
        out.print(table)
    out.print(f"written to {folder / 'results.csv'}", markup=False)
