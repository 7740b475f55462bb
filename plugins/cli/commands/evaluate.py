"""``parallax evaluate``: the field's standard figures of a model, to quote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from plugins.cli.context import chosen_version, console, open_project

if TYPE_CHECKING:
    from ml_backend.evaluation.version_metrics import Evaluation
    from ml_backend.metrics.mpjpe import Alignment

_ALIGNED: dict[Alignment, str] = {
    "absolute": "absolute",
    "root": "root-aligned",
    "mean": "joint-mean-aligned",
    "procrustes": "Procrustes",
}


def evaluate(
    ctx: typer.Context,
    number: Annotated[int | None, typer.Option("--version", help="Number of the version. Default: the live one.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="JSON to write. Default: evaluation-px-N.json beside parallax.yaml.")
    ] = None,
    ap: Annotated[list[float] | None, typer.Option(min=0.0, max=1.0, help="AP also at this OKS; repeat.")] = None,
) -> None:
    """Evaluate a model on the labelled validation frames: pixels, PCK, PCP, OKS, AP and AR, OSPA, MOTA, calibration, 3-D."""
    from ml_backend.evaluation import version_metrics as job
    from ml_backend.evaluation.evaluation_report import write_report

    workspace = open_project(ctx)
    version = chosen_version(workspace, number)
    found = job.evaluate(workspace, version, ap or [])
    target = report or workspace.spec.folder / f"evaluation-px-{version.number}.json"
    write_report(found, target)
    out = console()
    for line in _basis(found):
        out.print(line, markup=False)
    for table in (_summary(found), _per_keypoint(found), _reliability(found)):
        out.print()
        out.print(table)
    out.print()
    out.print(f"PCK: of the {job.PCK_REFERENCE}", markup=False)
    out.print(f"OKS: area = {job.AREA_OF}", markup=False)
    out.print(f"written to {target}", markup=False)


def _basis(found: Evaluation) -> list[str]:
    error = found.error
    lines = [
        f"px-{found.version} on labelled validation frames: {found.frames} frames, {found.pictures} pictures, "
        f"{error.labelled} points of people"
    ]
    if error.points < error.labelled:
        missing = error.labelled - error.points
        lines.append(f"{missing} of them without a prediction: wrong in PCK, PCP and OKS, left out of errors")
    if found.unreadable:
        lines.append(f"{found.unreadable} labelled pictures cannot be read and are left out")
    return lines


def _summary(found: Evaluation) -> Table:
    from ml_backend.evaluation.version_metrics import FOUND_OKS
    from ml_backend.metrics.protocols import HEAD_ALPHA, PCP_ALPHA, TORSO_ALPHA

    table = Table("figure", "value", "over", box=None, pad_edge=False)
    error, oks, low_high = found.error, found.oks, found.interval
    mean = f"{_number(error.mean)} ({_number(low_high[0])} … {_number(low_high[1])})"
    table.add_row("error, px: mean (95 %)", mean, f"{error.points} points")
    table.add_row("error, px: median", _number(error.median), f"{error.points} points")
    for alpha, pck in found.pck.items():
        table.add_row(f"PCK@{alpha}", _share(pck.overall), f"{pck.count} points")
    figures = found.protocol
    for name, unit in ((f"PCKh@{HEAD_ALPHA}", figures.head), (f"PCK@{TORSO_ALPHA} of the torso", figures.torso)):
        table.add_row(name, _share(unit.overall if unit else None), f"{unit.count if unit else 0} points")
    for name, part in (("strict", figures.strict), ("loose", figures.loose)):
        table.add_row(f"PCP@{PCP_ALPHA}, {name}", _share(part.mean if part else None), f"{found.limbs} limbs")
    table.add_row("OKS: mean", _number(oks.mean, 3), f"{oks.count.subjects} subjects")
    for name, value in (("AP", oks.ap.ap), ("AP50", oks.ap.at[0.5]), ("AP75", oks.ap.at[0.75]), ("AR", oks.ap.ar)):
        table.add_row(name, _number(value, 3), f"{oks.count.subjects} subjects")
    for threshold, value in oks.asked.items():
        table.add_row(f"AP at OKS {threshold:g}", _number(value, 3), f"{oks.count.subjects} subjects")
    table.add_row("OSPA of 1 − OKS", _number(oks.ospa, 3), f"{oks.count.subjects} pictures")
    table.add_row(f"person count: found, OKS ≥ {FOUND_OKS}", _share(oks.count.matched_share), f"{oks.count.subjects} subjects")
    table.add_row("person count: mean error", _number(oks.count.mean_count_error), f"{oks.count.subjects} pictures")
    if found.identities:
        numbers = found.identities
        over = f"{numbers.subjects} subjects"
        table.add_row("numbers of subjects: MOTA", _number(numbers.mota, 3), over)
        table.add_row("numbers of subjects: IDF1", _number(numbers.idf1, 3), over)
        table.add_row("numbers of subjects: switches", str(numbers.switches), over)
    table.add_row("ECE of confidence", _number(found.reliability.ece, 3), f"{found.reliability.count.sum()} points")
    for alignment, name in _ALIGNED.items():
        world = found.world.by_alignment[alignment] if found.world else None
        over = f"{_share(world.coverage)} of {found.world.points} points" if found.world and world else "–"
        table.add_row(Text(f"MPJPE{_unit(found)}: {name}"), _number(world.mean if world else None), over)
    if found.world:
        parts = found.world.protocol
        for name, part in (("strict", parts.strict), ("loose", parts.loose)):
            table.add_row(f"PCP@{PCP_ALPHA} in 3-D, {name}", _share(part.mean if part else None), f"{found.world.points} points")
    return table


def _per_keypoint(found: Evaluation) -> Table:
    world = found.world.by_alignment["absolute"].per_keypoint.tolist() if found.world else [None] * len(found.per_keypoint)
    heads = ("keypoint", "points", "mean, px", "median, px", *(f"PCK@{alpha}" for alpha in found.pck), f"MPJPE{_unit(found)}")
    table = Table(*heads, box=None, pad_edge=False)
    for k, (name, distances) in enumerate(zip(found.skeleton.keypoints, found.per_keypoint, strict=True)):
        shares = (_share(float(pck.per_keypoint[k])) for pck in found.pck.values())
        cells = (_number(distances.mean), _number(distances.median), *shares, _number(world[k]))
        table.add_row(Text(name), str(distances.points), *cells)
    return table


def _reliability(found: Evaluation) -> Table:
    bins = found.reliability
    table = Table("confidence", "points", "mean", f"PCK@{min(found.pck)}", box=None, pad_edge=False)
    for i in range(len(bins.count)):
        cells = (_number(float(bins.confidence[i])), _share(float(bins.correct[i])))
        table.add_row(f"{i / len(bins.count):.1f} … {(i + 1) / len(bins.count):.1f}", str(bins.count[i]), *cells)
    return table


def _unit(found: Evaluation) -> str:
    return f", {found.world.unit}" if found.world else ""


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None or value != value else f"{100 * value:.1f} %"
