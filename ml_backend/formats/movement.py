"""``movement`` netCDF: points over time of one camera, or points in 3-D.

Definition: ``ValidPosesInputs`` of movement 0.15: ``position`` over time, space, keypoints, individuals, and ``confidence``.
Files that we write have our states and people in variables beside these, which movement keeps and does not use.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import FloatArray, IntArray, PointState
from label_config.values.errors import LabelFileError
from label_config.values.file_names import file_name
from label_config.values.refusing import refusing
from label_config.values.skeleton import Skeleton
from ml_backend.child_processes.limited_child import read_limited
from ml_backend.formats.label_records import LabelSet
from ml_backend.formats.tracks import Track, labels_of, tracks_of

#: How far a time may be from a frame, in frames.
_OFF = 0.05


def read_movement(path: Path, video: str | None = None) -> LabelSet:
    """Points with a confidence are predictions, without any labels that people made.

    video  whose frames they are, by its file name or folder; None = what the file says, else a recording called as the file
    """
    _need_xarray(path)
    found = read_limited("ml_backend.formats.movement_file:read", path)
    with refusing(LabelFileError, f"{path}: expected a netCDF file of movement; one of its values is of another kind"):
        return _label_set(path, found, video)


def _label_set(path: Path, found: dict[str, Any], video: str | None) -> LabelSet:
    if found["space"] != ["x", "y"]:
        raise LabelFileError(f"{path}: expected points of one camera (space x, y), got {', '.join(found['space'])}")
    names = found["individuals"]
    xy = np.moveaxis(found["position"], (1, 2, 3), (3, 2, 1))
    if np.isinf(xy).any():
        raise LabelFileError(f"{path}: expected finite coordinates, got an infinite one")
    placed = np.isfinite(xy).all(axis=-1)
    state: IntArray = np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)
    if "state" in found:
        state = np.moveaxis(found["state"], 1, 2)
    confidence = np.clip(np.moveaxis(found["confidence"], 1, 2), 0.0, 1.0)
    predicted = bool(np.isfinite(confidence).any())
    people = found["people"] or [[""] * len(names) for _ in found["time"]]
    track = Track(
        video or found["video"] or path.stem,
        _frames(path, found),
        tuple(_number(name, position) for position, name in enumerate(names)),
        np.where(placed[..., None], xy, np.nan),
        state,
        confidence,
        tuple(tuple(tuple(cell.split("\n")) if cell else () for cell in row) for row in people),
    )
    labels = labels_of(track, predicted=predicted)
    notes = []
    if len(names) > 1:
        listed = ", ".join(f"{name!r} is subject {s}" for name, s in zip(names, track.subjects, strict=True))
        notes.append(f"{len(names)} individuals: {listed}")
    if "state" not in found and not predicted:
        notes.append("the file has no confidence: its points are taken for labels that people made")
    if video is None and found["video"] is None:
        notes.append(f"the file names no video: its points are taken for those of {path.stem!r} (else --video)")
    return LabelSet(Skeleton(path.stem, tuple(found["keypoints"])), labels, tuple(notes))


def _number(name: str, position: int) -> int:
    digits = name.removeprefix("subject")
    return int(digits) if name.startswith("subject") and digits.isdecimal() and len(digits) < 9 else position


def _frames(path: Path, found: dict[str, Any]) -> IntArray:
    time: FloatArray = found["time"]
    if found["time_unit"] == "seconds":
        if not found["fps"]:
            raise LabelFileError(f"{path}: its times are seconds and it says no fps: which frames they are cannot be known")
        time = time * found["fps"]
    frames = np.rint(time)
    wrong = np.flatnonzero(~(np.abs(time - frames) <= _OFF))
    if len(wrong):
        raise LabelFileError(
            f"{path}: time {found['time'][wrong[0]]:g} is no frame: expected whole frames, got {time[wrong[0]]:g}"
        )
    if len(set(frames.tolist())) < len(frames) or (frames < 0).any():
        raise LabelFileError(f"{path}: expected each frame once and none before 0")
    return frames.astype(np.int64)


def write_movement(labels: LabelSet, folder: Path) -> None:
    """One file per camera and recording, called as the video, or recording and camera."""
    write_movement_tracks(tracks_of(labels), labels.skeleton.keypoints, folder)


def write_movement_tracks(tracks: Sequence[Track], keypoints: Sequence[str], folder: Path) -> None:
    """One file per track."""
    _need_xarray(folder)
    from ml_backend.formats.movement_file import write

    for track, name in zip(tracks, names_of(tracks), strict=True):
        people = np.array([["\n".join(cell) for cell in row] for row in track.people], dtype=np.str_)
        write(
            folder / f"{name}.nc",
            np.moveaxis(track.xy_px, (1, 2, 3), (3, 2, 1)),
            np.moveaxis(track.confidence, 1, 2),
            time=track.frames,
            keypoints=list(keypoints),
            individuals=[f"subject{subject}" for subject in track.subjects],
            attributes={"video": track.video},
            more={
                "state": (("time", "keypoints", "individuals"), np.moveaxis(track.state, 1, 2)),
                "people": (("time", "individuals"), people),
            },
        )


def write_movement_world(
    path: Path, frames: Sequence[int], keypoints: Sequence[str], xyz_world: FloatArray, confidence: FloatArray, unit: str
) -> None:
    """Points in 3-D of one subject: xyz_world (n, K, 3) in ``unit``, confidence (n, K), NaN = none."""
    _need_xarray(path)
    from ml_backend.formats.movement_file import write

    write(
        path,
        np.moveaxis(xyz_world, 2, 1)[..., None],
        confidence[..., None],
        time=np.asarray(frames, dtype=np.int64),
        keypoints=list(keypoints),
        individuals=["subject0"],
        attributes={"length_unit": unit},
        more={},
    )


def names_of(tracks: Sequence[Track]) -> list[str]:
    """Names of files, with the folder of the video where two videos have one name."""
    names = [track.name for track in tracks]
    return [
        name if names.count(name) == 1 else file_name("_".join(track.video.rpartition(".")[0].split("/")))
        for track, name in zip(tracks, names, strict=True)
    ]


def _need_xarray(path: Path) -> None:
    missing = [name for name in ("xarray", "h5netcdf") if importlib.util.find_spec(name) is None]
    if missing:
        raise LabelFileError(
            f"{path}: netCDF files need {' and '.join(missing)}; install them with pip install 'label-studio-parallax[labels]'"
        )
