"""``parallax harvest``: let pictorial structures label whole recordings, and a personalised model learn from the best of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from label_config.values import BadInputError
from plugins.cli.context import console, open_project

if TYPE_CHECKING:
    from ml_backend.store.workspace import Workspace

app = typer.Typer(invoke_without_command=True, help="Label whole calibrated recordings in 3-D and train on the best of it.")


@app.callback()
def harvest(
    ctx: typer.Context,
    sequence: Annotated[list[str] | None, typer.Option(help="Recording to harvest; may be repeated. Default: all.")] = None,
    keep: Annotated[float, typer.Option(help="Share of each keypoint's poses that become labels.")] = 0.7,
    stride: Annotated[int, typer.Option(help="Every n-th frame.")] = 1,
    train_frames: Annotated[int, typer.Option(help="Train on at most this many harvested frames.")] = 500,
    grid: Annotated[
        int, typer.Option(help="Voxels per side of the pictorial structure; 64 takes eight times as long as 32.")
    ] = 32,
    unconfirmed: Annotated[
        bool,
        typer.Option("--unconfirmed", help="Keep the share of all poses, as printed, not only of those that two views confirm."),
    ] = False,
    limb_lengths: Annotated[
        Path | None,
        typer.Option(help="CSV file with from, to, length in the unit of the calibration, instead of lengths from labels."),
    ] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Leave it to a worker for training.")] = False,
) -> None:
    """Harvest with the live model, train a personalised one, put it before the gate, and harvest again."""
    if ctx.invoked_subcommand is not None:
        return
    from ml_backend.formats.limb_lengths import read_limb_lengths
    from ml_backend.jobs.run_job import run_here
    from ml_backend.project.job_arguments import HarvestOptions
    from ml_backend.store import work
    from ml_backend.store.statuses import JobKind

    lengths = read_limb_lengths(limb_lengths) if limb_lengths else None
    options = HarvestOptions(sequence or None, keep, stride, train_frames, grid, unconfirmed, lengths)
    workspace = open_project(ctx)
    job = work.request(workspace.store, JobKind.HARVEST, options.to_json())
    out = console()
    if queue:
        out.print(f"job {job.id}: a worker for training takes it; `parallax harvest show` says what came out")
        return
    with out.status("harvest") as status:
        run_here(workspace, job, lambda progress: status.update(_in_words(progress)))
    _show(workspace)


@app.command()
def show(ctx: typer.Context) -> None:
    """What the last harvest gave, per keypoint, before and after personalising."""
    _show(open_project(ctx))


@app.command()
def export(
    ctx: typer.Context,
    target: Annotated[
        Path, typer.Argument(help="File to write: .csv, .npz or .nc (movement, trusted points only); points in 3-D.")
    ],
) -> None:
    """Write the 3-D points of the last harvest; column `kept` marks the trusted ones."""
    from ml_backend.formats.points_world import write_points_world
    from ml_backend.jobs.harvest_job import last_harvest
    from ml_backend.project.label_snapshot import unit_of

    if target.exists():
        raise BadInputError(f"{target}: exists already; choose another name")
    workspace = open_project(ctx)
    best = last_harvest(workspace).best
    keypoints = workspace.binding.skeleton.keypoints
    write_points_world(target, best.keys, keypoints, best.xyz_world, best.spread_world, best.kept, unit_of(workspace))
    console().print(f"{target}: {len(best)} poses, {best.kept.mean():.0%} of their points trusted", markup=False)


@app.command()
def lengths(
    ctx: typer.Context,
    target: Annotated[Path, typer.Argument(help="CSV file to write, for `parallax harvest --limb-lengths` of another project.")],
) -> None:
    """Write the median limb lengths of this project's labels."""
    from ml_backend.formats.limb_lengths import write_limb_lengths
    from ml_backend.geometry.pictorial_body import LimbLengths
    from ml_backend.project.label_snapshot import collect_labels, unit_of
    from ml_backend.project.round_state import RoundState

    if target.exists():
        raise BadInputError(f"{target}: exists already; choose another name")
    workspace = open_project(ctx)
    skeleton, poses = workspace.binding.skeleton, collect_labels(RoundState(workspace)).xyz_world
    write_limb_lengths(target, skeleton, LimbLengths.from_labels(poses, skeleton.limbs).length_world)
    console().print(f"{target}: limb lengths in {unit_of(workspace)}, of {len(poses)} labelled frames", markup=False)


@app.command()
def single_view(
    ctx: typer.Context,
    view: Annotated[str, typer.Argument(help="Camera whose pictures the network learns from.")],
    target: Annotated[Path, typer.Argument(help="File to write: .safetensors, the weights.")],
    printed: Annotated[
        bool, typer.Option("--printed", help="The paper's optimiser and augmentation instead of the project's recipe.")
    ] = False,
) -> None:
    """Train a network on the last harvest: a 3-D pose from one picture, for `parallax predict --single-view`."""
    from ml_backend.jobs.single_view_training import train_single_view
    from ml_backend.pose.single_view_network import save_single_view
    from ml_backend.project.label_snapshot import unit_of

    if target.exists():
        raise BadInputError(f"{target}: exists already; choose another name")
    workspace = open_project(ctx)
    result = train_single_view(workspace, view, printed=printed)
    save_single_view(result.network, result.manifest, target)
    unit = unit_of(workspace)
    table = Table("keypoint", f"off on frames left out, {unit}", box=None, pad_edge=False)
    for name, error in zip(workspace.binding.skeleton.keypoints, result.error_world.tolist(), strict=True):
        table.add_row(Text(name), _number(error))
    out = console()
    out.print(f"{result.trained_on} frames learnt, {result.evaluated_on} left out; weights in {target}", markup=False)
    out.print(table)


def _in_words(progress: dict[str, Any]) -> str:
    step = f" {progress['step']} of {progress['steps']}" if "steps" in progress else ""
    return f"{progress['stage']}{step}"


def _show(workspace: Workspace) -> None:
    from ml_backend.jobs.harvest_job import last_harvest
    from ml_backend.labels.harvested_labels import summarise
    from ml_backend.project.label_snapshot import unit_of

    outcome = last_harvest(workspace)
    metrics, keypoints = outcome.version.metrics, workspace.binding.skeleton.keypoints
    unknown: list[float | None] = [None] * len(keypoints)
    errors = zip(metrics.get("previous_per_keypoint_px") or unknown, metrics.get("per_keypoint_px") or unknown, strict=True)
    unit = unit_of(workspace)
    table = Table("keypoint", "kept", "error on validation, px", "residual, px", f"spread, {unit}", box=None, pad_edge=False)
    for name, a, b, error in zip(keypoints, summarise(outcome.before), summarise(outcome.after), errors, strict=True):
        cells = (error, (a.residual_px, b.residual_px), (a.spread_world, b.spread_world))
        table.add_row(Text(name), f"{a.kept:.0%}", *(_change(*cell) for cell in cells))
    out = console()
    out.print(f"{len(outcome.before)} frames; before → after personalising", markup=False)
    out.print(table)
    out.print(f"px-{outcome.version.number} is {outcome.version.status}; gate: {metrics['gate']}", markup=False)


def _change(before: float | None, after: float | None) -> str:
    return f"{_number(before)} → {_number(after)}"


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.2f}"
