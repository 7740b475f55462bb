"""A recording, ready to be predicted: its frames, cameras and rig."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from label_config.settings.recording_settings import RecordingSettings, ViewSource
from label_config.settings.spec import Spec
from label_config.values import FloatArray, Frame, ImageRef
from label_config.values.errors import RecordingError
from label_config.values.skeleton import Skeleton
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.recording_rig import rig_of_recording
from ml_backend.recordings import Recording, ViewTransform, is_url, open_recording
from ml_backend.recordings.pictures import DEFAULT_LIMITS, Limits
from ml_backend.tracks.track_arrays import Tracks, world_of


@dataclass(frozen=True)
class Opened:
    """One recording.

    views   in the order of the V axis
    sources view → its video or folder
    rig     of these views, None without a calibration of two or more
    notes   what was assumed and noticed
    """

    sequence: str
    views: tuple[str, ...]
    frames: tuple[Frame, ...]
    sources: Mapping[str, str]
    source_frames: Mapping[str, int]
    transforms: Mapping[str, ViewTransform]
    fps: float | None
    rig: Rig | None = None
    notes: tuple[str, ...] = ()

    def about(self) -> dict[str, Any]:
        """What its tracks depend on: pictures and rig."""
        refs = [[frame.key.index, {view: _named(ref) for view, ref in frame.images.items()}] for frame in self.frames]
        files = [_file(source) for source in sorted(set(self.sources.values()))]
        return {"recording": _digest([refs, files]), "calibration": _digest(self.rig.to_json() if self.rig else None)}

    def tracks(self, skeleton: Skeleton, arrays: Mapping[str, Any]) -> Tracks:
        """With the arrays of all of its frames."""
        shape = (len(self.frames), len(self.views))
        frame_of, times = np.full(shape, -1, dtype=np.int64), np.full(shape, np.nan)
        for i, frame in enumerate(self.frames):
            for v, view in enumerate(self.views):
                ref = frame.images.get(view)
                if ref is not None:
                    frame_of[i, v] = frame.key.index if ref.frame_index is None else ref.frame_index
                    times[i, v] = np.nan if ref.time_s is None else ref.time_s
        last = int(frame_of.max(initial=-1)) + 1
        return Tracks(
            sequence=self.sequence,
            skeleton=skeleton,
            views=self.views,
            sources=tuple(self.sources[view] for view in self.views),
            index=np.array([frame.key.index for frame in self.frames], dtype=np.int64),
            frame_of=frame_of,
            n_frames=tuple(max(self.source_frames.get(view, 0), last) for view in self.views),
            times_s=_first_known(times),
            fps=self.fps,
            xy_px=arrays["xy_px"],
            confidence=arrays["confidence"].astype(np.float64),
            state=arrays["state"].astype(np.int64),
            transforms=tuple(self.transforms[view] for view in self.views),
            rig=self.rig,
            world=world_of(arrays),
        )


def open_files(
    entry: RecordingSettings,
    rig: Rig | None = None,
    *,
    order: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Opened:
    """Every frame of a recording, whatever stride its settings have.

    rig    of the project's views, used where the recording has no calibration of its own
    order  of the cameras; those that the recording lacks are left out
    Raises BadInputError, UnreadableImageError.
    """
    recording = open_recording(entry.model_copy(update={"stride": 1}), limits, whole=False)
    views = tuple(view for view in order if view in recording.views) or recording.views
    notes = list(recording.notes)
    if rig is not None and entry.calibration is None:
        rig = _fitting(rig.subset([view for view in views if view in rig.names]), recording, views)
    elif found := rig_of_recording(entry, recording, views):
        rig, notes = found.rig, [*notes, *found.notes]
    else:
        rig = None
    missing = [view for view in order if view not in views]
    if missing:
        notes.append(f"recording {entry.sequence!r}: no file of {', '.join(missing)}; the other cameras are predicted without it")
    return Opened(
        entry.sequence,
        views,
        recording.frames,
        {view: entry.views[view].source for view in views},
        recording.source_frames,
        recording.transforms,
        recording.fps,
        rig,
        tuple(notes),
    )


def open_frames(sequence: str, frames: Sequence[Frame], views: Sequence[str], rig: Rig | None) -> Opened:
    """A recording whose pictures are addresses that a project knows."""
    present = tuple(view for view in views if any(view in frame.images for frame in frames))
    first = {view: next(frame.images[view] for frame in frames if view in frame.images) for view in present}
    sizes = {view: ref.size_px for view, ref in first.items()}
    unknown = [view for view, size in sizes.items() if size is None and (first[view].rotation or first[view].flip)]
    if unknown:
        raise RecordingError(f"recording {sequence!r}: the size of the pictures of {', '.join(unknown)} is not known yet")
    return Opened(
        sequence,
        present,
        tuple(frames),
        {view: f"{sequence}/{view}" for view in present},
        {},
        {
            view: ViewTransform.of_view(ref) if ref.size_px or ref.crop else ViewTransform((0, 0, 0, 0))
            for view, ref in first.items()
        },
        None,
        rig.subset(present) if rig is not None and len(present) > 1 else None,
    )


def settings_of_views(spec: Spec) -> dict[str, ViewSource]:
    """How the project cuts, turns and mirrors the pictures of each camera, for files that it has never seen.

    Raises BadInputError where its recordings do not agree on that.
    """
    found: dict[str, ViewSource] = {}
    for recording in spec.recordings:
        for view, source in recording.views.items():
            plain = ViewSource(
                source="video", crop=source.crop, flip=source.flip, rotation=source.rotation, calibrated_on=source.calibrated_on
            )
            if found.setdefault(view, plain) != plain:
                raise RecordingError(
                    f"recordings in parallax.yaml cut, turn or mirror {view!r} in different ways, so that of another video "
                    "is not known: add the video as a recording there, and give its name"
                )
    return found


def shared_picture(spec: Spec) -> bool:
    """All views are parts of one picture in the project's recordings."""
    several = [recording for recording in spec.recordings if len(recording.views) > 1]
    return bool(several) and all(len({view.source for view in recording.views.values()}) == 1 for recording in several)


def _fitting(rig: Rig, recording: Recording, views: Sequence[str]) -> Rig | None:
    """The project's rig, whose pictures must have the size of these."""
    if len(rig) < 2 or len(rig) < len(views):
        return None
    for camera in rig.cameras:
        if camera.size_px != recording.size_px[camera.name]:
            width, height = recording.size_px[camera.name]
            raise RecordingError(
                f"recording {recording.sequence!r}: the pictures of {camera.name!r} have {width} × {height} pixels, the "
                f"project's calibration is for {camera.size_px[0]} × {camera.size_px[1]}; give the one of this recording: "
                "--calibration FILE"
            )
    return rig


def _named(ref: ImageRef) -> dict[str, Any]:
    """Without the folder: files may be moved together."""
    return {**ref.to_json(), "source": ref.source if is_url(ref.source) else Path(ref.source).name}


def _file(source: str) -> list[Any]:
    path = Path(source)
    if is_url(source) or not path.exists():
        return [source]
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    return [[item.name, item.stat().st_size, item.stat().st_mtime_ns] for item in inside if item.is_file()]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _first_known(times: FloatArray) -> FloatArray | None:
    """(n, V) → (n,) time of the first camera that has one at that instant; None when no camera says any."""
    known = np.isfinite(times)
    if not known.any():
        return None
    first = known.argmax(axis=1)
    return np.asarray(times[np.arange(len(times)), first])
