"""``parallax simulate``: try strategies on recordings whose truth is known, before a person labels anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: Every strategy once, random twice; pseudo-labels on and off.
DEFAULT = "random,random#2,mpe,mc,outlier_ratio,coreset,tpc,composite,composite+pseudo,full"


def simulate(
    dataset: Annotated[str, typer.Option(help="studio, lp_mirror_mouse or dlc_openfield.")] = "studio",
    strategies: Annotated[
        str, typer.Option(help="Comma-separated, e.g. thc+2*wpu+duw+acft+pseudo:0.2#1 (docs/experiments-notebook.md).")
    ] = DEFAULT,
    seeds: Annotated[int, typer.Option(min=1, help="Number of paired repetitions.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="Number of the first one.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Cells that run at the same time, one thread each.")] = 1,
    minutes: Annotated[float | None, typer.Option(help="Start no new cell after this time.")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="field=value of the design; repeat.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of results.csv and report.html.")] = Path(".bench/experiments/studio"),
    cache: Annotated[Path, typer.Option(help="Folder of rendered recordings.")] = Path(".bench/cache"),
    data: Annotated[Path | None, typer.Option(envvar="PARALLAX_DATA", help="Folder of labelled recordings.")] = None,
    minutes_per_frame: Annotated[float, typer.Option(min=0.01, help="The report's clock: to label a frame in all views.")] = 1.0,
    hours_per_training: Annotated[float, typer.Option(min=0.0, help="The report's clock: one training.")] = 1.0,
    report_only: Annotated[bool, typer.Option("--report-only", help="Only draw the report of what is there.")] = False,
) -> None:
    """Simulate annotation: strategies × seeds × rounds against the truth; resumes where it was stopped."""
    from label_config.values import BadInputError
    from ml_backend.simulation.experiments.arms import parse_arms
    from ml_backend.simulation.experiments.campaign import Campaign, run
    from ml_backend.simulation.experiments.design import DESIGNS
    from ml_backend.simulation.experiments.learner import fast_precision
    from ml_backend.simulation.experiments.plots import require_matplotlib
    from ml_backend.simulation.experiments.report import write_report
    from ml_backend.simulation.experiments.turnaround import TurnaroundClock

    if dataset not in DESIGNS:
        raise BadInputError(f"--dataset: expected one of {', '.join(DESIGNS)}, got {dataset!r}")
    require_matplotlib()  # before hours of simulation, not after
    design = DESIGNS[dataset].but(precision=fast_precision()).with_settings(setting or [])
    arms = parse_arms(strategies)
    campaign = Campaign(design, arms, tuple(range(first_seed, first_seed + seeds)), out, cache, data, minutes)
    if not report_only and not run(campaign, processes=processes, tell=typer.echo):
        typer.echo("time is up; the same command goes on")
    clock = TurnaroundClock(minutes_per_frame, hours_per_training)
    typer.echo(f"report: {write_report(out, clock=clock)}")
