"""Tables of points with DeepLabCut's header: what DeepLabCut, Lightning Pose and EKS share.

Three header rows (scorer, bodyparts, coords) or four (individuals after scorer); then one row per picture.  The first
column, or the first three in newer DeepLabCut files, name the picture.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from label_config.values import BadInputError, FloatArray

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
    """

    scorer: str
    individuals: tuple[str, ...]
    bodyparts: tuple[str, ...]
    coords: tuple[str, ...]
    rows: tuple[str, ...]
    values: FloatArray
    lines: tuple[int, ...]


def read_point_table(path: Path) -> PointTable:
    """Read a CSV.  Raises BadInputError naming file and line for anything that is no such table."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            content = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"{path}: cannot be read as a CSV table ({error})") from error
    header: dict[str, list[str]] = {}
    while content and content[0][1][0] in _HEADER:
        row = content.pop(0)[1]
        header[row[0]] = row
    missing = [name for name in ("scorer", "bodyparts", "coords") if name not in header]
    if missing:
        raise BadInputError(f"{path}:1: expected header rows scorer, bodyparts, coords; missing: {', '.join(missing)}")
    width = len(header["coords"])
    first = next((i for i, cell in enumerate(header["coords"]) if i and cell), width)
    columns = _columns(path, header, first)
    individuals, bodyparts, coords = (tuple(dict.fromkeys(c[i] for c in columns)) for i in range(3))
    numbers = np.full((len(content), len(columns)), np.nan)
    for i, (line, row) in enumerate(content):
        if len(row) != width:
            raise BadInputError(f"{path}:{line}: expected {width} cells as in the header, got {len(row)}")
        numbers[i] = _numbers(path, line, row, first)
    values = np.full((len(content), len(individuals), len(bodyparts), len(coords)), np.nan)
    for j, (individual, bodypart, coord) in enumerate(columns):
        values[:, individuals.index(individual), bodyparts.index(bodypart), coords.index(coord)] = numbers[:, j]
    names = tuple("/".join(row[:first]).replace("\\", "/") for _, row in content)
    return PointTable(
        header["scorer"][first],
        individuals,
        bodyparts,
        coords,
        names,
        values,
        tuple(n for n, _ in content),
    )


def _columns(path: Path, header: dict[str, list[str]], first: int) -> list[tuple[str, str, str]]:
    width = len(header["coords"])
    for name, row in header.items():
        if len(row) != width:
            raise BadInputError(f"{path}: header row {name!r} has {len(row)} cells, expected {width} as row 'coords'")
    if first == width:
        raise BadInputError(f"{path}: the header names no keypoint")
    individual = header.get("individuals", [""] * width)
    columns = list(zip(individual[first:], header["bodyparts"][first:], header["coords"][first:], strict=True))
    repeated = {c for c in columns if columns.count(c) > 1} if len(set(columns)) < len(columns) else set()
    if repeated:
        names = " ".join(part for part in min(repeated) if part)
        raise BadInputError(f"{path}: column {names!r} appears twice in the header; keypoint names must be unique")
    return columns


def _numbers(path: Path, line: int, row: list[str], first: int) -> list[float]:
    try:
        return [float(cell) if cell else np.nan for cell in row[first:]]
    except ValueError:
        for column, cell in enumerate(row[first:], start=first + 1):
            try:
                float(cell or "nan")
            except ValueError:
                raise BadInputError(f"{path}:{line}: column {column}: expected a number or nothing, got {cell!r}") from None
        raise


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
