"""Whole recordings as tables: plain CSV with a row per frame, and what DeepLabCut's ``analyze_videos`` leaves beside a video."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.spreadsheet_text import shown_as_text
from ml_backend.formats.dlc_project import has_tables, write_table
from ml_backend.formats.point_table import write_point_table
from ml_backend.formats.tracks import Track

#: DeepLabCut finds the tracks of a video by the name of the network after the video's own.
DLC_SCORER = "DLC_parallax"


def write_track_csv(path: Path, frames: IntArray, times_s: FloatArray | None, columns: Mapping[str, FloatArray]) -> None:
    """``frame``, ``time_s`` where times are known, then the columns; NaN = an empty cell.

    columns  name → (n,) values
    """
    names = ["frame", *(["time_s"] if times_s is not None else []), *columns]
    table = np.column_stack([*([times_s] if times_s is not None else []), *columns.values()])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(shown_as_text, names))
        for frame, row in zip(frames.tolist(), table.tolist(), strict=True):
            writer.writerow([frame, *("" if cell != cell else f"{cell:.10g}" for cell in row)])


def write_dlc_tracks(track: Track, n_frames: int, keypoints: Sequence[str], folder: Path) -> list[str]:
    """``<video>DLC_parallax.csv`` and, where pandas can write it, ``.h5``: a row per frame of the video, x, y, likelihood.

    Frames that were not predicted are empty with likelihood 0, as DeepLabCut fills them.
    """
    values = np.full((n_frames, 1, len(keypoints), 3), np.nan)
    values[track.frames, 0, :, :2] = track.xy_px[:, 0]
    values[..., 2] = 0.0
    values[track.frames, 0, :, 2] = np.nan_to_num(track.confidence[:, 0], nan=0.0)
    path = folder / f"{track.name}{DLC_SCORER}.csv"
    about = {"scorer": DLC_SCORER, "individuals": ("",), "bodyparts": keypoints, "coords": ("x", "y", "likelihood")}
    write_point_table(path, rows=[str(i) for i in range(n_frames)], values=values, **about)  # type: ignore[arg-type]
    if not has_tables():
        return ["dlc: CSV only; HDF5 needs pandas and tables (pip install 'label-studio-parallax[labels]')"]
    write_table(path.with_suffix(".h5"), rows=range(n_frames), values=values, **about)  # type: ignore[arg-type]
    return []
