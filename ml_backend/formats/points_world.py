"""3-D points as a table or as arrays, for whatever analyses them next."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from label_config.values import BoolArray, FloatArray, FrameKey
from label_config.values.errors import LabelFileError
from label_config.values.spreadsheet_text import shown_as_text
from ml_backend.formats.movement import write_movement_world


def write_points_world(
    target: Path,
    keys: Sequence[FrameKey],
    keypoints: Sequence[str],
    xyz_world: FloatArray,
    spread_world: FloatArray,
    kept: BoolArray,
    unit: str,
) -> None:
    """Write n poses as ``.csv`` (one row per frame), ``.npz`` (one array per argument) or ``.nc`` (movement; one recording).

    xyz_world     (n, K, 3) world units; NaN becomes an empty cell
    spread_world  (n, K) typical standard deviation, world units
    kept          (n, K) the point is trusted
    unit          of the world
    Raises BadInputError for another ending and for shapes that do not fit.
    """
    shape = (len(keys), len(keypoints))
    for name, array, expected in (
        ("xyz_world", xyz_world, (*shape, 3)),
        ("spread_world", spread_world, shape),
        ("kept", kept, shape),
    ):
        if array.shape != expected:
            raise LabelFileError(f"3-D points: {name}: expected shape {expected}, got {array.shape}")
    if target.suffix == ".csv":
        _write_csv(target, keys, keypoints, xyz_world, spread_world, kept)
    elif target.suffix == ".npz":
        sequence, index = np.array([key.sequence for key in keys], dtype=np.str_), np.array([key.index for key in keys], np.int64)
        names = np.array(keypoints, dtype=np.str_)
        with target.open("wb") as file:
            np.savez_compressed(
                file, sequence=sequence, index=index, keypoints=names, xyz_world=xyz_world, spread_world=spread_world, kept=kept
            )
    elif target.suffix == ".nc":
        sequences = sorted({key.sequence for key in keys})
        if len(sequences) != 1:
            raise LabelFileError(
                f"{target}: a file of movement holds one recording, got {', '.join(sequences)}; harvest one of them"
            )
        trusted = np.where(kept[..., None], xyz_world, np.nan)
        frames = [key.index for key in keys]
        write_movement_world(target, frames, keypoints, trusted, np.full(shape, np.nan), unit)
    else:
        raise LabelFileError(f"{target}: expected a name that ends in .csv, .npz or .nc")


def _write_csv(
    target: Path,
    keys: Sequence[FrameKey],
    keypoints: Sequence[str],
    xyz_world: FloatArray,
    spread_world: FloatArray,
    kept: BoolArray,
) -> None:
    columns = [f"{name}_{part}" for name in keypoints for part in ("x", "y", "z", "spread", "kept")]
    values = np.concatenate([xyz_world, spread_world[..., None]], axis=-1)
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sequence", "frame", *map(shown_as_text, columns)])
        for key, pose, good in zip(keys, values, kept, strict=True):
            cells = [cell for point, g in zip(pose.tolist(), good.tolist(), strict=True) for cell in (*map(_cell, point), int(g))]
            writer.writerow([shown_as_text(key.sequence), key.index, *cells])


def _cell(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else ""
