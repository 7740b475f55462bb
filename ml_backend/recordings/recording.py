"""A recording: several cameras' videos or picture folders → frames, each with the pictures of the same instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from label_config.spec import Recording as RecordingSpec
from label_config.spec import ViewSource
from label_config.values import BadInputError, FloatArray, Frame, FrameKey, ImageRef, IntArray
from ml_backend.recordings.pictures import DEFAULT_LIMITS, Limits
from ml_backend.recordings.sources import SourceInfo, probe
from ml_backend.recordings.timing import frame_times, match_frames, period, reference_view
from ml_backend.recordings.transform import view_size


@dataclass(frozen=True)
class Recording:
    """One sequence.

    views      names in the order of every V axis
    frames     in temporal order; a view that has no picture at an instant is absent from it
    size_px    view → (width, height) after rotation and crop
    fps        of the reference view; None when no camera says
    notes      what was noticed: unequal lengths, dropped frames
    """

    sequence: str
    views: tuple[str, ...]
    frames: tuple[Frame, ...]
    size_px: Mapping[str, tuple[int, int]]
    fps: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Camera:
    """One view as it was found on disk."""

    name: str
    spec: ViewSource
    info: SourceInfo
    times_s: FloatArray
    size_px: tuple[int, int] = field(default=(0, 0))

    def ref(self, index: int) -> ImageRef:
        pictures = self.info.pictures
        return ImageRef(
            source=pictures[index] if pictures else self.spec.source,
            frame_index=None if pictures else index,
            time_s=float(self.times_s[index]) - self.spec.time_offset_s,
            crop=self.spec.crop,
            flip=self.spec.flip,
            size_px=self.size_px,
            rotation=self.spec.rotation,
        )


def open_recording(spec: RecordingSpec, limits: Limits = DEFAULT_LIMITS) -> Recording:
    """Look at every camera's files and pair their pictures in time.

    A file next to a source called ``<name>.timestamps.npy``, ``.txt`` or ``.csv`` holds the time of each frame in seconds;
    without it frames follow the container's rate from 0.  ``time_offset_s`` is added to the camera's clock.  The instants
    are those of the slowest camera (see ``timing.reference_view``); another camera's nearest frame belongs to an instant
    when it lies within half a frame of it.
    Raises BadInputError for files that do not exist or do not fit together, UnreadableImageError for damaged ones.
    """
    cameras = [_look(name, view, limits) for name, view in spec.views.items()]
    times = {camera.name: camera.times_s for camera in cameras}
    reference = reference_view(times)
    instants = times[reference]
    matches = {name: match_frames(instants, own, _tolerance(instants, own)) for name, own in times.items()}
    stop = len(instants) if spec.stop is None else min(spec.stop, len(instants))
    frames = []
    for i in range(spec.start, stop, spec.stride):
        images = {camera.name: camera.ref(int(matches[camera.name][i])) for camera in cameras if matches[camera.name][i] >= 0}
        frames.append(Frame(FrameKey(spec.sequence, i), images))
    if not frames:
        raise BadInputError(
            f"recording {spec.sequence!r}: no frame between start {spec.start} and stop {spec.stop}; it has {len(instants)}"
        )
    return Recording(
        sequence=spec.sequence,
        views=tuple(spec.views),
        frames=tuple(frames),
        size_px={camera.name: camera.size_px for camera in cameras},
        fps=next(camera.info.fps for camera in cameras if camera.name == reference),
        notes=tuple(_notes(spec.sequence, reference, matches)),
    )


def _look(name: str, spec: ViewSource, limits: Limits) -> _Camera:
    info = probe(spec.source, limits)
    times = frame_times(info.n_frames, info.fps, spec.time_offset_s, _timestamps(spec.source), f"view {name!r}, {spec.source}")
    plain = ImageRef(spec.source, crop=spec.crop, rotation=spec.rotation)
    return _Camera(name, spec, info, times, view_size(plain, info.size_px))


def _timestamps(source: str) -> FloatArray | None:
    """(n,) seconds from the file next to the source, None without one."""
    base = Path(source)
    for path in (base.with_name(f"{base.stem}.timestamps{suffix}") for suffix in (".npy", ".txt", ".csv")):
        if not path.is_file():
            continue
        try:
            values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path, delimiter=",", ndmin=1)
            return np.asarray(values, dtype=np.float64)
        except (ValueError, OSError) as error:
            raise BadInputError(f"{path}: expected one time in seconds per frame ({error})") from error
    return None


def _tolerance(instants_s: FloatArray, times_s: FloatArray) -> float:
    """Half the time between frames of the slower camera, a little less so that a lost frame is not replaced by its neighbour."""
    longest = max((p for p in (period(instants_s), period(times_s)) if np.isfinite(p)), default=1.0)
    return 0.499 * longest


def _notes(sequence: str, reference: str, matches: Mapping[str, IntArray]) -> list[str]:
    total = len(matches[reference])
    return [
        f"recording {sequence!r}: view {name!r} has no picture at {missing} of {total} instants (those of {reference!r})"
        for name, match in matches.items()
        if (missing := int((match < 0).sum()))
    ]
