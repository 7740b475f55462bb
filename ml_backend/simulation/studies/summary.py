"""The tables of the studies: means over seeds, and paired differences with 95 % bootstrap intervals, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml_backend.simulation.studies import limb_likelihoods
from ml_backend.simulation.studies.bad_poses import CORRUPTIONS, DETECTORS
from ml_backend.simulation.studies.harvesting import STEPS
from ml_backend.simulation.studies.reconstruction import METHODS
from ml_backend.simulation.studies.study_table import Row, in_words, over_seeds


@dataclass(frozen=True)
class SummarySection:
    """A table in words."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def harvest_sections(rows: Sequence[Row]) -> list[SummarySection]:
    """What the views tell with the generic network, and what the network learns from labels of the new take."""
    counts = sorted({int(row["views"]) for row in rows})
    seeds = len({row["seed"] for row in rows})
    return [
        SummarySection(
            f"Generic network on a new take, mean of {seeds} seeds, mm: all keypoints; those that a harvest keeps",
            ("views", "method", "error", "minus linear", "median", "aligned", "PCP %", "kept", "error", "PCP %"),
            tuple(_line(rows, views, method) for views in counts for method in METHODS),
        ),
        SummarySection(
            f"Trained on labels of the new take, mean of {seeds} seeds: px of the network's picture; pictorial structures, mm",
            ("labels", "share", "off, px", "px", "minus generic", "error", "minus generic", "rare", "linear"),
            tuple(_step(rows, step, counts[-1]) for step in STEPS),
        ),
    ]


def _line(rows: Sequence[Row], views: int, method: str) -> tuple[str, ...]:
    every = {"step": "generic", "views": views, "method": method, "keypoints": "all"}
    kept, linear = {**every, "keypoints": "kept"}, {**every, "method": "linear"}
    change = in_words(over_seeds(rows, "error", matching(every), matching(linear))) if method != "linear" else ""
    means = [_mean(rows, every, figure) for figure in ("error", "median", "aligned", "pcp")]
    return (
        str(views), method, means[0], change, *means[1:],
        _mean(rows, kept, "share", 2), _mean(rows, kept, "error"), _mean(rows, kept, "pcp"),
    )  # fmt: skip


def _step(rows: Sequence[Row], step: str, views: int) -> tuple[str, ...]:
    here = {"step": step, "views": views, "method": "pictorial", "keypoints": "all"}
    generic = {**here, "step": "generic"}
    px, error = (over_seeds(rows, figure, matching(here), matching(generic)) for figure in ("px", "error"))
    trained = step != "generic"
    return (
        step,
        _mean(rows, here, "labels_share", 2) if trained else "",
        _mean(rows, here, "labels_px", 2) if trained else "",
        _mean(rows, here, "px", 2),
        in_words(px, 2) if trained else "",
        _mean(rows, here, "error"),
        in_words(error) if trained else "",
        _mean(rows, here, "rare"),
        _mean(rows, {**here, "method": "linear"}, "error"),
    )


def _mean(rows: Sequence[Row], where: Row, figure: str, digits: int = 1) -> str:
    return f"{over_seeds(rows, figure, matching(where)).delta:.{digits}f}"


def bad_poses_sections(rows: Sequence[Row]) -> list[SummarySection]:
    """AUROC of each score against each corruption, one table per number of labelled poses."""
    seeds = len({row["seed"] for row in rows})
    return [
        SummarySection(
            f"AUROC of corrupted against clean poses, {labelled} labelled poses, {seeds} seeds",
            ("score", *CORRUPTIONS),
            tuple(
                (score, *(_auroc(rows, {"labelled": labelled, "score": score, "corruption": name}) for name in CORRUPTIONS))
                for score in DETECTORS
            ),
        )
        for labelled in sorted({int(row["labelled"]) for row in rows})
    ]


def _auroc(rows: Sequence[Row], where: Row) -> str:
    return in_words(over_seeds(rows, "auroc", matching(where)), 3, sign=False)


def limb_sections(rows: Sequence[Row]) -> list[SummarySection]:
    """How scores of single pictures rank them by their true error, and what the limbs make of the maxima."""
    counts = sorted({int(row["labelled"]) for row in rows})
    seeds = len({row["seed"] for row in rows})
    columns = tuple(f"{count} labels" for count in counts)

    def over(figure: str, digits: int, sign: bool, minus: str = "") -> tuple[str, ...]:
        less = [{**row, "less": row[figure] - (row[minus] if minus else 0.0)} for row in rows]
        return tuple(in_words(over_seeds(less, "less", matching({"labelled": count})), digits, sign=sign) for count in counts)

    return [
        SummarySection(
            f"Rank correlation of each score with the true error of a picture, {seeds} seeds",
            ("score", *columns),
            tuple((name, *over(name, 2, True)) for name in limb_likelihoods.SCORES),
        ),
        SummarySection(
            f"Points among the maxima of each heatmap, {seeds} seeds, mean error in px",
            ("point", *columns),
            (
                *((name, *over(name, 2, False)) for name in limb_likelihoods.POINTS),
                ("limbs minus largest", *over("limbs", 3, True, "largest")),
                ("share of keypoints moved", *over("moved", 4, False)),
                ("network, ms a picture", *over("alone_ms", 2, False)),
                ("network and lengths of limbs, ms", *over("beside_ms", 2, False)),
            ),
        ),
    ]


def recipe_sections(rows: Sequence[Row], recipes: Sequence[str]) -> list[SummarySection]:
    """Mean error of each recipe, and its paired difference to the first, for each number of labels."""
    counts = sorted({int(row["labelled"]) for row in rows})
    seeds, first = len({row["seed"] for row in rows}), recipes[0]

    def line(recipe: str) -> tuple[str, ...]:
        cells = [recipe]
        for count in counts:
            here, there = {"labelled": count, "recipe": recipe}, {"labelled": count, "recipe": first}
            cells.append(in_words(over_seeds(rows, "mean", matching(here)), 2, sign=False))
            cells.append(in_words(over_seeds(rows, "mean", matching(here), matching(there)), 2) if recipe != first else "")
        return tuple(cells)

    columns = [name for count in counts for name in (f"{count} labels", f"minus {first!r}")]
    title = f"{rows[0]['dataset']}: mean error on the test frames, {rows[0]['unit']}, {seeds} seeds"
    return [SummarySection(title, ("recipe", *columns), tuple(map(line, recipes)))]


def matching(where: Row) -> Callable[[Row], bool]:
    """Whether a row has these values."""
    return lambda row: all(row[name] == value for name, value in where.items())
