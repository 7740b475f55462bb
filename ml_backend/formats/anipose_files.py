"""anipose's results: ``pose-2d/<video>.h5`` and ``pose-3d/<recording>.csv``.

Definitions: ``load_pose_2d_dlc`` and ``write_pose_2d_dlc`` (DeepLabCut's predictions as HDF5, a row per frame from 0) and
``triangulate`` (per keypoint x, y, z, error, ncams, score; the turn M and shift ``center`` of the world; ``fnum``) of anipose.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.file_names import file_name
from label_config.values.spreadsheet_text import check_no_formula
from ml_backend.formats.dlc_project import write_table
from ml_backend.formats.label_records import LabelSet
from ml_backend.formats.movement import names_of
from ml_backend.formats.tracks import Track, tracks_of

SCORER = "parallax"


@dataclass(frozen=True)
class WorldTrack:
    """n frames of one recording in 3-D, NaN where a keypoint has no place.

    frames      (n,) instants that rise
    xyz_world   (n, K, 3) in ``unit``
    error_px    (n, K) mean distance of the points of the cameras that agree from where they see the place
    cameras     (n, K) how many cameras that are
    confidence  (n, K) the least of their points'
    """

    unit: str
    frames: IntArray
    xyz_world: FloatArray
    error_px: FloatArray
    cameras: IntArray
    confidence: FloatArray


def write_anipose(labels: LabelSet, world: Mapping[str, WorldTrack], folder: Path) -> list[str]:
    """Write both folders; notes say what a reader has to know.  Frames in between that nobody predicted are empty rows."""
    return write_anipose_tracks(tracks_of(labels), labels.skeleton.keypoints, world, folder)


def write_anipose_tracks(
    tracks: Sequence[Track], keypoints: tuple[str, ...], world: Mapping[str, WorldTrack], folder: Path
) -> list[str]:
    """The same of tracks, one per video."""
    (folder / "pose-2d").mkdir(parents=True)
    notes = []
    for track, name in zip(tracks, names_of(tracks), strict=True):
        if len(track.subjects) > 1:
            notes.append(f"{track.name}: anipose triangulates one subject; only subject {track.subjects[0]} is written")
        filled = int(track.frames[-1]) + 1
        values = np.full((filled, 1, len(keypoints), 3), np.nan)
        values[track.frames, 0, :, :2] = track.xy_px[:, 0]
        values[..., 2] = 0.0
        values[track.frames, 0, :, 2] = np.nan_to_num(track.confidence[:, 0], nan=0.0)
        write_table(
            folder / "pose-2d" / f"{name}.h5",
            scorer=SCORER,
            individuals=("",),
            bodyparts=keypoints,
            coords=("x", "y", "likelihood"),
            rows=range(filled),
            values=values,
        )
    for sequence, track_world in world.items():
        (folder / "pose-3d").mkdir(exist_ok=True)
        _write_world(folder / "pose-3d" / f"{file_name(sequence)}.csv", keypoints, track_world)
        notes.append(f"pose-3d/{sequence}.csv: lengths in {track_world.unit}, in the world of the calibration")
    return notes


def _write_world(path: Path, keypoints: tuple[str, ...], track: WorldTrack) -> None:
    columns = [f"{name}_{part}" for name in keypoints for part in ("x", "y", "z", "error", "ncams", "score")]
    turn = [f"M_{i}{j}" for i in range(3) for j in range(3)] + [f"center_{i}" for i in range(3)]
    unturned = [*np.eye(3).ravel().tolist(), 0.0, 0.0, 0.0]
    filled = int(track.frames[-1]) + 1 if len(track.frames) else 0
    values = np.full((filled, len(keypoints), 6), np.nan)
    values[track.frames, :, :3] = track.xyz_world
    values[track.frames, :, 3:] = np.stack((track.error_px, track.cameras, track.confidence), axis=-1)
    values[~np.isfinite(values[..., :3]).all(axis=-1)] = np.nan
    check_no_formula(path, columns)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, *turn, "fnum"])
        for number, row in enumerate(values.reshape(filled, -1).tolist()):
            writer.writerow([*("" if cell != cell else repr(cell) for cell in row), *unturned, number])
