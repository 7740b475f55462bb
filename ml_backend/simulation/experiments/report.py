"""One page that a person can read: what was compared, what came out, how sure that is."""

from __future__ import annotations

import csv
import html
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from label_config.values import BadInputError, FloatArray
from ml_backend.metrics.bootstrap import Comparison
from ml_backend.simulation.experiments import page, plots, turnaround
from ml_backend.simulation.experiments.arms import FULL, IDLE
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.learning_curves import (
    LabelRatio,
    against_random,
    area,
    chance_of,
    complete_cells,
    curve_of,
    full_error,
    kinds_of,
    label_ratio,
    last,
    stopping,
)
from ml_backend.simulation.experiments.precision import pool_alc
from ml_backend.simulation.experiments.results_table import WATCHED, Row, read_rows

#: An error this many times the full-label error counts as "almost as good as labelling everything".
CLOSE = 1.25


def write_report(folder: Path, *, clock: turnaround.TurnaroundClock = turnaround.TurnaroundClock()) -> Path:
    """``folder`` of a campaign → report.html, curves.csv and PNGs beside its table.  Raises BadInputError without rows."""
    described = folder / "design.json"
    if not described.exists():
        raise BadInputError(f"{folder}: expected the folder of an experiment, with a design.json; run one first")
    design = Design.from_json(json.loads(described.read_text(encoding="utf-8")))
    rows = complete_cells(read_rows(folder / "results.csv"), design.last_round)
    if not chance_of(rows):
        raise BadInputError(f"{folder}: no finished run of strategy 'random', with which all others are compared; run it first")
    unit = "mm" if design.dataset == "studio" and design.views > 1 else "px"
    _write_curves(rows, folder / "curves.csv")
    parts = [
        _introduction(design, rows),
        *_curves(rows, unit, folder),
        *_efficiency(rows, design, clock, unit),
        *_rare(rows, unit),
        *_pool_precision(rows),
        *_stopping(rows),
        *_scores(rows, folder),
        *_coverage(rows, folder),
        *_pseudo(rows, unit),
        _controls(rows, unit),
    ]
    path = folder / "report.html"
    path.write_text(page.page(f"Annotation simulation: {design.dataset}", parts), encoding="utf-8")
    return path


def compared(rows: Sequence[Row], figure: str = "error") -> list[tuple[str, Comparison, Comparison]]:
    """Strategy, its difference to random after the last round, and that of the area under its curve."""
    others = [kind for kind in kinds_of(rows) if kind != chance_of(rows)]
    pairs = [(kind, against_random(rows, kind, figure, last), against_random(rows, kind, figure, area)) for kind in others]
    return sorted(pairs, key=lambda item: (math.isnan(item[1].delta), item[1].delta))


def efficiency(rows: Sequence[Row], kind: str, figure: str = "error") -> list[tuple[str, LabelRatio]]:
    """Labels needed for: what random reaches at the end; CLOSE times the full-label error; the full-label error itself."""
    found = [("what random reaches at the end", label_ratio(rows, kind, lambda _, chance: float(chance[-1]), figure))]
    full = full_error(rows, figure)
    for factor in (CLOSE, 1.0) if full else ():
        found.append((f"{factor:g} × the error of all labels", label_ratio(rows, kind, _of_full(full, factor), figure)))
    return found


def _of_full(full: Mapping[int, float], factor: float) -> Callable[[Sequence[int], FloatArray], float]:
    """Full-label error of these seeds; a seed for which it was not run counts with the mean of the others."""
    mean = float(np.mean(list(full.values())))
    return lambda seeds, _: factor * float(np.mean([full.get(seed, mean) for seed in seeds]))


def _introduction(design: Design, rows: Sequence[Row]) -> str:
    seeds = len({row["seed"] for row in rows})
    settings = ", ".join(f"{name} {value}" for name, value in design.to_json().items())
    return (
        f"<p>A network learns {design.initial} labelled frames; a strategy then chooses {design.batch} more, {design.rounds} "
        f"times. The same first frames, network and random numbers serve all strategies of a seed; {seeds} seeds were run. "
        "Every figure is measured on test frames that no strategy could pick. Intervals are 95 % bootstrap intervals over "
        "seeds; with few seeds they are rather too narrow than too wide. <b>A difference whose interval contains 0 is no "
        "evidence of a difference.</b></p>"
        f"<p class=small>{html.escape(settings)}</p>"
    )


def _curves(rows: Sequence[Row], unit: str, folder: Path) -> list[str]:
    found = compared(rows)
    chance = curve_of(rows, chance_of(rows))
    cells = [
        [
            chance_of(rows),
            page.number(chance.mean[-1]),
            "",
            page.number(area(chance.labels, chance.mean)),
            "",
            "",
            str(len(chance.seeds)),
        ]
    ]
    for kind, end, whole in found:
        curve = curve_of(rows, kind)
        cells.append(
            [
                kind,
                page.number(curve.mean[-1]),
                page.interval(end),
                page.number(area(curve.labels, curve.mean)),
                page.interval(whole),
                page.verdict(end),
                str(end.n),
            ]
        )
    head = ["strategy", f"final error ({unit})", "minus random", "ALC", "minus random", "beats random?", "seeds"]
    return [
        "<h2>Learning curves</h2>",
        page.figure(plots.learning_curves(rows, unit, folder / "curves.png")),
        "<p>ALC is the mean height of the curve over the whole budget: lower is better. Random is the mean of its draws. A "
        "strategy that was run with fewer seeds is compared with random on these seeds; only the differences are fair then.</p>",
        page.table(head, cells),
        page.figure(plots.differences([(k, d) for k, d, _ in found], unit, "after the last round", folder / "differences.png"))
        if found
        else "",
    ]


def _efficiency(rows: Sequence[Row], design: Design, clock: turnaround.TurnaroundClock, unit: str) -> list[str]:
    pool = next((int(float(row["labels"])) for row in rows if row["strategy"] == FULL), design.pool_frames)
    whole = clock.conventional_hours(pool)
    cells: dict[str, list[list[str]]] = {}
    figures = {"error": "", **({"error_rare": "rare actions: "} if _has(rows, "error_rare") else {})}
    for figure, prefix in figures.items():
        for kind in kinds_of(rows):
            for name, ratio in efficiency(rows, kind, figure):
                row = [prefix + name, kind, page.number(ratio.target), page.labels(ratio.mine), page.ratio(ratio)]
                cells.setdefault(prefix + name, []).append([*row, *_hours(ratio, design, clock, whole)])
    hours = ["hours in turns", "hours overlapped", "÷ equal accuracy", "÷ labelling all"]
    head = ["target", "strategy", unit, "labels needed", "÷ random's", *hours]
    return [
        "<h2>Labels and hours to a target</h2>",
        f"<p>The clock: {clock.minutes_per_frame:g} min per frame, {clock.hours_per_training:g} h per training. In turns: people "
        "wait for the network, as published. Overlapped: they label the next batch while it trains. Equal accuracy: against "
        "labelling at one go as many random frames as reach the target, without and with one training; above 1 the loop is "
        f"<em>slower</em>. Labelling all {pool} frames of the pool takes {whole:.1f} h.</p>",
        page.table(head, [row for group in cells.values() for row in group]),
    ]


def _hours(ratio: LabelRatio, design: Design, clock: turnaround.TurnaroundClock, whole: float) -> list[str]:
    if not math.isfinite(ratio.mine):
        return ["", "", "", ""]
    rounds = turnaround.rounds_for(ratio.mine, design.initial, design.batch)
    turns = clock.sequential_hours(design.initial, design.batch, rounds)
    overlapped = clock.overlapped_hours(design.initial, design.batch, rounds)
    equal = clock.at_equal_accuracy(turns, ratio.chance) if math.isfinite(ratio.chance) else ()
    shares = " / ".join(f"{share:.2f}" for share in equal)
    return [f"{turns:.1f}", f"{overlapped:.1f}", shares, f"{turns / whole:.2f} / {overlapped / whole:.2f}"]


def _has(rows: Sequence[Row], figure: str) -> bool:
    return bool(np.isfinite(curve_of(rows, chance_of(rows), figure).value).any())


def _rare(rows: Sequence[Row], unit: str) -> list[str]:
    if not _has(rows, "error_rare"):
        return []
    cells = []
    for kind in kinds_of(rows):
        row = [kind]
        for figure in ("error_common", "error_rare"):
            row.append(page.number(curve_of(rows, kind, figure).mean[-1]))
            row.append("" if kind == chance_of(rows) else page.interval(against_random(rows, kind, figure, last)))
        cells.append(row)
    head = ["strategy", f"common ({unit})", "minus random", f"rare ({unit})", "minus random"]
    return ["<h2>Common and rare actions apart, after the last round</h2>", page.table(head, cells)]


def _pool_precision(rows: Sequence[Row]) -> list[str]:
    """Average precision over the pool, labelled frames as right, and the area under it over the labelled share."""
    if not _has(rows, "pool_ap60"):
        return []
    pool = next(int(float(row["pool"])) for row in rows)

    def alc(labels: FloatArray, values: FloatArray) -> float:
        return pool_alc(labels, values, pool)

    cells = []
    for kind in kinds_of(rows):
        row = [kind]
        for figure in ("pool_ap60", "pool_ap80"):
            curve = curve_of(rows, kind, figure)
            row += [" ".join(f"{value:.3f}" for value in curve.mean), f"{alc(curve.labels, curve.mean):.4f}"]
            row.append("" if kind == chance_of(rows) else page.interval(against_random(rows, kind, figure, alc), 4))
        cells.append(row)
    head = ["strategy", *(f"{name}{at}" for at in ("0.6", "0.8") for name in ("AP at OKS ", "ALC at ", "minus random at "))]
    return [
        "<h2>Over the whole pool</h2>",
        "<p>Average precision over all pictures of the pool, round by round, with labelled frames counted as right; ALC is the "
        "area under it over the labelled share, from the first round to the whole pool, where it is 1. Higher is better.</p>",
        page.table(head, cells),
    ]


def _stopping(rows: Sequence[Row]) -> list[str]:
    kinds = kinds_of(rows)
    kind = "composite" if "composite" in kinds else kinds[0]
    cells = [
        [
            stop.rule,
            f"{stop.threshold:g}",
            f"{stop.stopped} of {stop.seeds}",
            page.number(stop.labels),
            "" if math.isnan(stop.excess) else f"{100 * stop.excess:+.0f} %",
        ]
        for stop in stopping(rows, kind)
    ]
    head = ["rule", "OKS threshold", "seeds that stopped", "labels then", "error then, against the end of the budget"]
    return [
        f"<h2>When would the rules have stopped? (strategy {html.escape(kind)})</h2>",
        "<p>SC_Min: mean OKS of the new batch above the threshold. SC_All: every labelled and newly picked frame. SC_quantile: "
        "95 % of the test frames. Always under the model that had not yet learnt the batch.</p>",
        page.table(head, cells),
    ]


def _scores(rows: Sequence[Row], folder: Path) -> list[str]:
    return [
        "<h2>Do the scores know where the error is?</h2>",
        "<p>Rank correlation of every score with the true error over the unlabelled pool, on the random draws. 1 = it ranks the "
        "frames as their errors do. That is not yet a better batch: the worst frames may all show the same thing.</p>",
        page.figure(plots.correlations(rows, folder / "spearman.png")),
        _by_round(rows, [chance_of(rows)], [(name, f"rho_{name}") for name in WATCHED], "score", lambda _, name: name),
    ]


def _coverage(rows: Sequence[Row], folder: Path) -> list[str]:
    if not _has(rows, "entropy"):
        return []
    wanted = [("entropy", "pose entropy (nat)"), ("rare_share", "share of rare frames"), ("radius", "coverage radius (mm)")]
    kinds = kinds_of(rows)
    return [
        "<h2>What was labelled</h2>",
        "<p>Entropy of the labelled frames over ten clusters of poses (at most 2.30), their share of rare actions, and the "
        "distance of the pool's loneliest pose from the nearest labelled one.</p>",
        page.figure(plots.by_round(rows, kinds, wanted, folder / "coverage.png")),
        _by_round(rows, kinds, [("entropy", "entropy")], "strategy", lambda kind, _: kind),
    ]


def _pseudo(rows: Sequence[Row], unit: str) -> list[str]:
    kinds = [kind for kind in kinds_of(rows) if "+pseudo" in kind]
    if not kinds:
        return []
    figures = [(f"error ({unit})", "pseudo_error"), ("frames", "pseudo_frames"), ("keypoints", "pseudo_keypoints")]
    return [
        "<h2>Pseudo-labels</h2>",
        "<p>True error of the labels that the network gave itself, per round. “+pseudo” lets the frames of one round sit out the "
        "next; “+pseudo_repeat” does not. Growth from round to round would be drift.</p>",
        _by_round(rows, kinds, figures, "strategy", lambda kind, name: f"{kind}: {name}"),
    ]


def _controls(rows: Sequence[Row], unit: str) -> str:
    full = list(full_error(rows).values())
    lines = []
    if full:
        lines.append(f"All labels of the pool: {np.mean(full):.2f} {unit} (mean of {len(full)} seeds).")
    if any(row["strategy"] == IDLE for row in rows):
        idle, chance = curve_of(rows, IDLE), curve_of(rows, chance_of(rows))
        seeds = [seed for seed in idle.seeds if seed in chance.seeds]
        lines.append(
            f"As many training steps without new labels: {idle.of(seeds).mean(axis=0)[-1]:.2f} {unit}, with random labels "
            f"{chance.of(seeds).mean(axis=0)[-1]:.2f} {unit} ({len(seeds)} seeds). The gap is what labels, not steps, bring."
        )
    return "<h2>References</h2><p>" + "<br>".join(lines) + "</p>" if lines else ""


def _by_round(
    rows: Sequence[Row], kinds: Sequence[str], figures: Sequence[tuple[str, str]], first: str, name: Callable[[str, str], str]
) -> str:
    cells, labels = [], curve_of(rows, chance_of(rows)).labels
    for kind in kinds:
        for title, figure in figures:
            curve = curve_of(rows, kind, figure)
            if np.isfinite(curve.value).any():
                cells.append([name(kind, title), *(page.number(value) for value in curve.mean)])
    return page.table([first, *(f"{n:g} labels" for n in labels)], cells)


def _write_curves(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["strategy", "labels", "seeds", "error", "lo", "hi", "error_common", "error_rare"])
        for kind in kinds_of(rows):
            curve = curve_of(rows, kind)
            low, high = curve.interval()
            split = [curve_of(rows, kind, name).mean for name in ("error_common", "error_rare")]
            columns = [curve.labels, [len(curve.seeds)] * len(low), curve.mean, low, high, *split]
            writer.writerows([kind, *(f"{value:.5g}" for value in row)] for row in zip(*columns, strict=True))
