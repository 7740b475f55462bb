"""Tables of points with DeepLabCut's header: what DeepLabCut, Lightning Pose and EKS share.

Header rows scorer, individuals, bodyparts, coords, of which the first two may be missing; then one row per picture.  The first
column, or the first three in newer DeepLabCut files, name the picture.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from label_config.values import FloatArray
from label_config.values.errors import LabelFileError
from label_config.values.spreadsheet_text import check_no_formula
from ml_backend.formats.csv_text import read_cells

_HEADER = ("scorer", "individuals", "bodyparts", "coords")


@dataclass(frozen=True)
class PointTable:
    """A parsed file.

    individuals  names in order of appearance; ("",) for a single animal
    bodyparts    names in order of appearance
    coords       e.g. ("x", "y") or ("x", "y", "likelihood")
    rows         name of the picture of each row, forward slashes
    values       (rows, individuals, bodyparts, coords), NaN where the cell is empty or the column is missing
    lines        line number of each row in the file
    notes        what was assumed
    """

    scorer: str
    individuals: tuple[str, ...]
    bodyparts: tuple[str, ...]
    coords: tuple[str, ...]
    rows: tuple[str, ...]
    values: FloatArray
    lines: tuple[int, ...]
    notes: tuple[str, ...] = ()


def read_point_table(path: Path, most_lines: int | None = None) -> PointTable:
    """Read a CSV, or its first lines.  Raises BadInputError naming file, line and column for anything that is no such table."""
    cells = read_cells(path, most_lines)
    content = list(cells.rows)
    header: dict[str, list[str]] = {}
    while content and content[0][1][0].lower() in _HEADER:
        line, row = content.pop(0)
        if row[0].lower() in header:
            raise LabelFileError(f"{path}:{line}: header row {row[0]!r} appears twice")
        header[row[0].lower()] = row
    missing = [name for name in ("bodyparts", "coords") if name not in header]
    if missing:
        raise LabelFileError(f"{path}:1: expected header rows scorer, bodyparts, coords; missing: {', '.join(missing)}")
    width = len(header["coords"])
    named = [not _unnamed(cell) for cell in header["coords"]]
    first = next((i for i, cell in enumerate(named) if i and cell), width)
    columns = _columns(path, header, first)
    numbers = np.full((len(content), len(columns)), np.nan)
    short = sum(len(row) < width for _, row in content)
    for i, (line, row) in enumerate(content):
        row += [""] * (width - len(row))  # as pandas reads rows whose last cells are not there
        if len(row) > width:
            raise LabelFileError(f"{path}:{line}: expected {width} cells as in the header, got {len(row)}")
        if not any(row[:first]):
            raise LabelFileError(f"{path}:{line}: column 1: expected the name of a picture, got nothing")
        numbers[i] = [cells.number(path, line, column, cell) for column, cell in enumerate(row[first:], start=first + 1)]
    names = [clean_path("/".join(cell for cell in row[:first] if cell)) for _, row in content]
    scorer = header["scorer"][first] if "scorer" in header else ""
    notes = cells.notes + ((f"{short} rows end early; the cells that they lack were read as empty",) if short else ())
    return point_table(scorer, columns, names, numbers, [line for line, _ in content], notes)


def point_table(
    scorer: str,
    columns: Sequence[tuple[str, str, str]],
    rows: Sequence[str],
    numbers: FloatArray,
    lines: Sequence[int],
    notes: tuple[str, ...] = (),
) -> PointTable:
    """The table of (individual, bodypart, coordinate) columns; numbers (rows, columns)."""
    individuals, bodyparts, coords = (tuple(dict.fromkeys(column[i] for column in columns)) for i in range(3))
    values = np.full((len(rows), len(individuals), len(bodyparts), len(coords)), np.nan)
    for j, (individual, bodypart, coord) in enumerate(columns):
        values[:, individuals.index(individual), bodyparts.index(bodypart), coords.index(coord)] = numbers[:, j]
    return PointTable(scorer, individuals, bodyparts, coords, tuple(rows), values, tuple(lines), notes)


def clean_path(text: str) -> str:
    """With forward slashes, and without the ``..\\`` that old DeepLabCut files begin with."""
    return text.replace("\\", "/").removeprefix("./")


def _unnamed(cell: str) -> bool:
    """pandas writes ``Unnamed: 1_level_2`` where a header cell is empty."""
    return not cell or cell.startswith("Unnamed:")


def _columns(path: Path, header: dict[str, list[str]], first: int) -> list[tuple[str, str, str]]:
    width = len(header["coords"])
    for name, row in header.items():
        if len(row) != width:
            raise LabelFileError(f"{path}: header row {name!r} has {len(row)} cells, expected {width} as row 'coords'")
    if first == width:
        raise LabelFileError(f"{path}: the header names no keypoint")
    for name in ("bodyparts", "coords"):
        empty = next((i for i in range(first, width) if _unnamed(header[name][i])), None)
        if empty is not None:
            raise LabelFileError(f"{path}: column {empty + 1}: header row {name!r} names nothing; is a column too many there?")
    individual = header.get("individuals", [""] * width)
    coords = [cell.lower() for cell in header["coords"]]
    columns = list(zip(individual[first:], header["bodyparts"][first:], coords[first:], strict=True))
    check_columns(str(path), columns)
    return columns


def check_columns(path: str, columns: Sequence[tuple[str, str, str]]) -> None:
    """Raise BadInputError for a column that is named twice."""
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        names = " ".join(part for part in min(repeated) if part)
        raise LabelFileError(f"{path}: column {names!r} appears twice in the header; keypoint names must be unique")


def write_point_table(
    path: Path,
    *,
    scorer: str,
    individuals: Sequence[str],
    bodyparts: Sequence[str],
    coords: Sequence[str],
    rows: Sequence[str],
    values: FloatArray,
) -> None:
    """Inverse of :func:`read_point_table`; ``individuals`` ("",) leaves that header row out.  Numbers keep every digit."""
    check_no_formula(path, [scorer, *individuals, *bodyparts, *rows])
    columns = [(i, b, c) for i in individuals for b in bodyparts for c in coords]
    header = [["scorer", *[scorer] * len(columns)]]
    if tuple(individuals) != ("",):
        header.append(["individuals", *[c[0] for c in columns]])
    header += [["bodyparts", *[c[1] for c in columns]], ["coords", *[c[2] for c in columns]]]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows(header)
        for name, row in zip(rows, values.reshape(len(rows), -1), strict=True):
            writer.writerow([name, *["" if np.isnan(v) else repr(float(v)) for v in row]])
