"""Limb lengths of a subject as a CSV file: ``from,to,length``, one line per limb, in the unit of the calibration."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from label_config.values import BadInputError, FloatArray
from label_config.values.errors import LabelFileError
from label_config.values.skeleton import Skeleton
from ml_backend.formats.csv_text import read_cells

COLUMNS = ["from", "to", "length"]


def write_limb_lengths(path: Path, skeleton: Skeleton, length_world: FloatArray) -> None:
    """(L,) lengths of the skeleton's limbs.  Raises BadInputError for limbs whose length is not known, NaN."""
    names = [(skeleton.keypoints[a], skeleton.keypoints[b]) for a, b in skeleton.limbs]
    unknown = [f"{one}–{other}" for (one, other), value in zip(names, length_world, strict=True) if np.isnan(value)]
    if unknown or not names:
        raise BadInputError(
            f"limb lengths: expected labels of both ends of each limb in two calibrated views, got none for "
            f"{', '.join(unknown) or 'a skeleton without limbs'}"
        )
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *([*limb, f"{value:.6g}"] for limb, value in zip(names, length_world, strict=True))])
    path.write_text(text.getvalue(), encoding="utf-8")


def read_limb_lengths(path: Path) -> list[tuple[str, str, float]]:
    """(keypoint, keypoint, length) of each line.  Raises BadInputError for another header, and lines that are not like it."""
    cells = read_cells(path)
    (_, header), *rows = cells.rows or [(1, ["an empty file"])]
    if header != COLUMNS:
        raise LabelFileError(f"{path}: expected a header {','.join(COLUMNS)}, got {','.join(header)}")
    found = []
    for line, row in rows:
        if len(row) != len(COLUMNS):
            raise LabelFileError(f"{path}:{line}: expected two keypoints and a length, got {','.join(row)[:80]!r}")
        found.append((row[0], row[1], cells.number(path, line, len(COLUMNS), row[2])))
    return found
