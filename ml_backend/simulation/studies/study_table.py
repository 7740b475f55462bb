"""What a study has found so far: a CSV that grows step by step, and what it says over the seeds."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from label_config.values import BadInputError
from label_config.values.atomic_files import replacing
from ml_backend.metrics.bootstrap import Comparison, paired_bootstrap
from ml_backend.simulation.experiments.results_table import as_text
from ml_backend.simulation.experiments.shared_files import locked

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Study = TypeVar("Study", bound="DataclassInstance")
Row = Mapping[str, Any]


def changed(study: Study, settings: Sequence[str]) -> Study:
    """``study`` with ``field=value`` texts, values as JSON (``views=3``).  Raises BadInputError."""
    known = [item.name for item in fields(study)]
    values: dict[str, Any] = {}
    for text in settings:
        name, _, value = text.partition("=")
        if name not in known:
            raise BadInputError(f"--set {text}: expected field=value with a field among {', '.join(known)}")
        try:
            values[name] = json.loads(value)
        except ValueError as error:
            raise BadInputError(f"--set {text}: expected a JSON value after =, got {value!r}") from error
    return replace(study, **values)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows; what reads as a number is one, what is empty is NaN.  No file, no rows."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(file)]


def write_rows(path: Path, names: Sequence[str], rows: Iterable[Row]) -> None:
    """The whole table anew, so that a killed process leaves the old one or the new one."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: as_text(row.get(name, math.nan)) for name in names} for row in rows)


def add_rows(path: Path, names: Sequence[str], rows: Iterable[Row]) -> None:
    """Behind those that are there; processes with other seeds may do the same at the same time."""
    with locked(path):
        write_rows(path, names, [*read_rows(path), *rows])


def over_seeds(
    rows: Iterable[Row], figure: str, of: Callable[[Row], bool], minus: Callable[[Row], bool] | None = None
) -> Comparison:
    """Mean of a figure over the seeds, or its mean difference to other rows of the same seed, with a 95 % bootstrap interval.

    of, minus  pick one row per seed; seeds that lack one are left out
    """
    rows = list(rows)
    mine = {int(row["seed"]): float(row[figure]) for row in rows if of(row)}
    other = dict.fromkeys(mine, 0.0) if minus is None else {int(row["seed"]): float(row[figure]) for row in rows if minus(row)}
    seeds = sorted(mine.keys() & other.keys())
    return paired_bootstrap(np.array([other[s] for s in seeds]), np.array([mine[s] for s in seeds]), 0)


def in_words(comparison: Comparison, digits: int = 1, *, sign: bool = True) -> str:
    """``−3.2 (−4.0 … −2.1)``; the interval is left out where a single seed has none."""
    if not comparison.n:
        return "–"
    shape = f"{'+' if sign else ''}.{digits}f"
    words = f"{comparison.delta:{shape}}"
    if math.isfinite(comparison.lo):
        words += f" ({comparison.lo:{shape}} … {comparison.hi:{shape}})"
    return words.replace("-", "−")


def _value(text: str) -> Any:
    if not text:
        return math.nan
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        return text
