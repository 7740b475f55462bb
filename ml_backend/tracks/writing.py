"""Tracks into files of other tools: a folder per format, smoothed values in a folder or in columns of their own beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path, PurePath

import numpy as np

from label_config.values import DEFAULT_SUBJECT, FloatArray, PointState
from label_config.values.errors import LabelFileError
from label_config.values.file_names import file_name
from ml_backend.formats.anipose_files import WorldTrack, write_anipose_tracks
from ml_backend.formats.label_records import LabelSet
from ml_backend.formats.movement import names_of, write_movement_tracks, write_movement_world
from ml_backend.formats.sleap import write_sleap
from ml_backend.formats.track_tables import write_dlc_tracks, write_track_csv
from ml_backend.formats.tracks import Track, labels_of
from ml_backend.formats.trc import write_trc
from ml_backend.geometry.cameras import Rig
from ml_backend.recordings.sources import is_video
from ml_backend.tracks.smoothing import Smoothed
from ml_backend.tracks.track_arrays import Tracks


class TrackFormat(StrEnum):
    """What tracks are written for."""

    CSV = "csv"
    DLC = "dlc"
    SLEAP = "sleap"
    MOVEMENT = "movement"
    ANIPOSE = "anipose"
    TRC = "trc"


def check_format(format: TrackFormat, sequence: str, rig: Rig | None, fps: float | None) -> None:
    """Raise BadInputError where a recording has not what the format holds."""
    if format is TrackFormat.TRC and rig is None:
        raise LabelFileError(f"recording {sequence!r}: trc holds points in 3-D, which need two calibrated cameras or more")
    if format is TrackFormat.TRC and fps is None:
        raise LabelFileError(f"recording {sequence!r}: trc needs the frames per second, which no camera says")


#: The parts of a symmetric matrix that are written.
_PARTS = ("xx", "xy", "xz", "yy", "yz", "zz")


def write_tracks(tracks: Tracks, format: TrackFormat, folder: Path, smoothed: Smoothed | None = None) -> list[str]:
    """Write ``folder/<format>``; notes say what a reader has to know."""
    target = folder / format.value
    target.mkdir(parents=True, exist_ok=True)
    if format is TrackFormat.CSV:
        return _csv(tracks, target, smoothed)
    write = _WRITERS[format]
    notes = write(tracks, target)
    if smoothed is not None:
        beside = folder / f"{format.value}-{smoothed.method}"
        beside.mkdir(parents=True, exist_ok=True)
        notes += write(smoothed.applied(tracks), beside)
    return notes


def _of_views(tracks: Tracks) -> list[Track]:
    """One per camera, frames by the camera's own numbers."""
    found = []
    for v, source in enumerate(tracks.sources):
        at = np.flatnonzero(tracks.frame_of[:, v] >= 0)
        xy = tracks.source_px(v)[at]
        placed = np.isfinite(xy).all(axis=-1)
        found.append(
            Track(
                "/".join(PurePath(source).parts[-2:]) if is_video(source) else f"{tracks.sequence}/{tracks.views[v]}",
                tracks.frame_of[at, v],
                (DEFAULT_SUBJECT,),
                xy[:, None],
                np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)[:, None],
                np.where(placed, np.clip(tracks.confidence[at, v], 0.0, 1.0), np.nan)[:, None],
                tuple(((),) for _ in at),
            )
        )
    return found


def _dlc(tracks: Tracks, target: Path) -> list[str]:
    notes: list[str] = []
    for track, n_frames in zip(_named(tracks), tracks.n_frames, strict=True):
        notes += write_dlc_tracks(track, n_frames, tracks.skeleton.keypoints, target)
    return list(dict.fromkeys(notes))


def _named(tracks: Tracks) -> list[Track]:
    """With names that differ, also of cameras that share one video."""
    found = _of_views(tracks)
    names = names_of(found)
    if len(set(names)) == len(names):
        return [replace(track, video=name) for track, name in zip(found, names, strict=True)]
    return [replace(track, video=f"{name}_{view}") for track, name, view in zip(found, names, tracks.views, strict=True)]


def _movement(tracks: Tracks, target: Path) -> list[str]:
    write_movement_tracks(_of_views(tracks) if _apart(tracks) else _named(tracks), tracks.skeleton.keypoints, target)
    world = tracks.world
    if world is not None and tracks.rig is not None:
        confidence, path = _least_confidence(tracks), target / f"{file_name(tracks.sequence)}_3d.nc"
        write_movement_world(path, tracks.index.tolist(), tracks.skeleton.keypoints, world.xyz_world, confidence, tracks.rig.unit)
        return [f"movement/{path.name}: lengths in {tracks.rig.unit}, in the world of the calibration"]
    return []


def _apart(tracks: Tracks) -> bool:
    return len(set(tracks.sources)) == len(tracks.sources)


def _anipose(tracks: Tracks, target: Path) -> list[str]:
    tracks_world = {}
    if tracks.world is not None and tracks.rig is not None:
        tracks_world[tracks.sequence] = WorldTrack(
            tracks.rig.unit,
            tracks.index,
            tracks.world.xyz_world,
            tracks.residual_px,
            tracks.n_agreeing,
            _least_confidence(tracks),
        )
    of_views = _of_views(tracks) if _apart(tracks) else _named(tracks)
    return write_anipose_tracks(of_views, tracks.skeleton.keypoints, tracks_world, target)


def _sleap(tracks: Tracks, target: Path) -> list[str]:
    for v, (track, own) in enumerate(zip(_named(tracks), _of_views(tracks), strict=True)):
        labels = labels_of(own, predicted=True)
        source = tracks.sources[v]
        if is_video(source):
            labels = tuple(replace(label, image=replace(label.image, source=str(Path(source).resolve()))) for label in labels)
        write_sleap(LabelSet(tracks.skeleton, labels), target / f"{track.name}.predictions.slp")
    return []


def _trc(tracks: Tracks, target: Path) -> list[str]:
    assert tracks.world is not None
    assert tracks.rig is not None
    assert tracks.fps is not None
    path = target / f"{file_name(tracks.sequence)}.trc"
    write_trc(path, tracks.skeleton.keypoints, tracks.world.xyz_world, fps=tracks.fps, unit=tracks.rig.unit)
    return [f"trc: lengths in {tracks.rig.unit}, with the axes of the calibration; OpenSim's models have y upwards"]


_WRITERS: dict[TrackFormat, Callable[[Tracks, Path], list[str]]] = {
    TrackFormat.DLC: _dlc,
    TrackFormat.MOVEMENT: _movement,
    TrackFormat.ANIPOSE: _anipose,
    TrackFormat.SLEAP: _sleap,
    TrackFormat.TRC: _trc,
}


def _least_confidence(tracks: Tracks) -> FloatArray:
    """(n, K) the least confidence of the cameras that agree, NaN without any."""
    assert tracks.world is not None
    least = np.where(tracks.world.inlier, tracks.confidence, np.inf).min(axis=1)
    return np.asarray(np.where(np.isfinite(least), least, np.nan))


def _csv(tracks: Tracks, target: Path, smoothed: Smoothed | None) -> list[str]:
    names = tracks.skeleton.keypoints
    for v, track in enumerate(_named(tracks)):
        at = np.flatnonzero(tracks.frame_of[:, v] >= 0)
        columns: dict[str, FloatArray] = {}
        xy = tracks.source_px(v)[at]
        beside = None if smoothed is None or smoothed.xy_px is None else tracks.source_px(v, smoothed.xy_px[:, v])[at]
        for k, name in enumerate(names):
            columns |= _axes(name, xy[:, k], "xy")
            columns[f"{name}_confidence"] = tracks.confidence[at, v, k]
            if beside is not None and smoothed is not None:
                columns |= _axes(f"{name}_{smoothed.method}", beside[:, k], "xy")
        times = None if tracks.times_s is None else tracks.times_s[at]
        write_track_csv(target / f"{track.name}.csv", track.frames, times, columns)
    if tracks.world is not None:
        columns = _world_columns(tracks, smoothed)
        write_track_csv(target / f"{file_name(tracks.sequence)}_3d.csv", tracks.index, tracks.times_s, columns)
        assert tracks.rig is not None
        return [f"csv/{tracks.sequence}_3d.csv: lengths in {tracks.rig.unit}, in the world of the calibration"]
    return []


def _world_columns(tracks: Tracks, smoothed: Smoothed | None) -> dict[str, FloatArray]:
    assert tracks.world is not None
    world, columns = tracks.world, dict[str, FloatArray]()
    rows, cols = np.triu_indices(3)
    for k, name in enumerate(tracks.skeleton.keypoints):
        columns |= _axes(name, world.xyz_world[:, k], "xyz")
        columns[f"{name}_residual_px"] = tracks.residual_px[:, k]
        columns[f"{name}_cameras"] = tracks.n_agreeing[:, k].astype(np.float64)
        columns |= {
            f"{name}_cov_{part}": world.covariance[:, k, row, col] for part, row, col in zip(_PARTS, rows, cols, strict=True)
        }
        if smoothed is not None and smoothed.xyz_world is not None:
            columns |= _axes(f"{name}_{smoothed.method}", smoothed.xyz_world[:, k], "xyz")
    return columns


def _axes(name: str, values: FloatArray, axes: Sequence[str]) -> dict[str, FloatArray]:
    return {f"{name}_{axis}": values[:, i] for i, axis in enumerate(axes)}
