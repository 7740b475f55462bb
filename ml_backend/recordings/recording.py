"""A recording: several cameras' videos or picture folders → frames, each with the pictures of the same instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from label_config.settings.recording_settings import RecordingSettings as RecordingSpec
from label_config.settings.recording_settings import ViewSource
from label_config.values import FloatArray, Frame, FrameKey, ImageRef
from label_config.values.errors import RecordingError
from ml_backend.recordings.pairing import FrameClock, Pairs, pair
from ml_backend.recordings.pictures import DEFAULT_LIMITS, Limits
from ml_backend.recordings.sources import SourceInfo, probe
from ml_backend.recordings.timing import check_timestamps, is_even, period
from ml_backend.recordings.transform import ViewTransform


@dataclass(frozen=True)
class Recording:
    """One sequence.

    views      names in the order of every V axis
    frames     in temporal order; a view that has no picture at an instant is absent from it
    size_px    view → (width, height) after crop and rotation; of pictures of mixed sizes that of the first
    source_size_px  view → (width, height) of its first picture in the source, upright
    source_frames  view → frames in the source, used or not
    transforms  view → what makes its first picture of that one
    fps        of the reference view; None when no camera says
    notes      what was noticed: unequal lengths, dropped frames
    """

    sequence: str
    views: tuple[str, ...]
    frames: tuple[Frame, ...]
    size_px: Mapping[str, tuple[int, int]]
    source_size_px: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    source_frames: Mapping[str, int] = field(default_factory=dict)
    transforms: Mapping[str, ViewTransform] = field(default_factory=dict)
    fps: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_complete(self) -> int:
        """Frames with a picture in every view."""
        return sum(len(frame.images) == len(self.views) for frame in self.frames)


@dataclass(frozen=True)
class _Camera:
    """One view as it was found on disk."""

    name: str
    spec: ViewSource
    info: SourceInfo
    clock: FrameClock

    def ref(self, index: int) -> ImageRef:
        """Its picture with this place."""
        pictures = self.info.pictures
        plain = ImageRef(
            source=pictures[index] if pictures else self.spec.source,
            frame_index=None if pictures else index,
            time_s=None if self.clock.times_s is None else float(self.clock.times_s[index]) - self.spec.time_offset_s,
            crop=self.spec.crop,
            flip=self.spec.flip,
            rotation=self.spec.rotation,
        )
        return replace(plain, size_px=self.transform(index).size_px)

    def transform(self, index: int = 0) -> ViewTransform:
        """What makes its picture with this place of the source's."""
        sizes, spec = self.info.sizes_px, self.spec
        ref = ImageRef(spec.source, crop=spec.crop, flip=spec.flip, rotation=spec.rotation)
        return ViewTransform.of(ref, sizes[index] if sizes else self.info.size_px)


def open_recording(spec: RecordingSpec, limits: Limits = DEFAULT_LIMITS, *, whole: bool = True) -> Recording:
    """Read every camera's files and pair their pictures (see ``pairing``).

    A file next to a source called ``<name>.timestamps.npy``, ``.txt`` or ``.csv`` holds the time of each frame in seconds;
    without it frames have their times in the container, from the first one on.  ``time_offset_s`` is added to the camera's
    clock.  Paired by time, the instants are those of the slowest camera (see ``timing.reference_view``); another camera's
    nearest frame belongs to an instant when it lies within half a frame of it.

    whole  refuse a recording of which fewer than half of the instants have a picture of every view
    Raises BadInputError for files that do not exist or do not fit together, UnreadableImageError for damaged ones.
    """
    where = f"recording {spec.sequence!r}"
    cameras = [_look(name, view, limits) for name, view in spec.views.items()]
    if spec.pairing != "index":
        _check_timestamps_of_all(spec, where)
    elif late := [name for name, view in spec.views.items() if view.time_offset_s]:
        raise RecordingError(f"{where}: 'pairing: index' does not use times; take out time_offset_s of {', '.join(late)}")
    pairs = pair({camera.name: camera.clock for camera in cameras}, spec.pairing, where)
    total = len(pairs.matches[pairs.reference])
    frames = []
    for i in range(spec.start, total if spec.stop is None else min(spec.stop, total), spec.stride):
        places = [(camera, int(pairs.matches[camera.name][i])) for camera in cameras]
        images = {camera.name: camera.ref(place) for camera, place in places if place >= 0}
        frames.append(Frame(FrameKey(spec.sequence, i), images))
    if not frames:
        raise RecordingError(f"{where}: no frame between start {spec.start} and stop {spec.stop}; it has {total}")
    recording = Recording(
        sequence=spec.sequence,
        views=tuple(spec.views),
        frames=tuple(frames),
        size_px={camera.name: camera.transform().size_px for camera in cameras},
        source_size_px={camera.name: camera.info.size_px for camera in cameras},
        source_frames={camera.name: camera.info.n_frames for camera in cameras},
        transforms={camera.name: camera.transform() for camera in cameras},
        fps=next(camera.spec.fps or camera.info.fps for camera in cameras if camera.name == pairs.reference),
        notes=(*pairs.notes, *_notes(where, pairs, cameras)),
    )
    if whole:
        _check_complete(recording, where)
    return recording


def _look(name: str, spec: ViewSource, limits: Limits) -> _Camera:
    info, where = probe(spec.source, limits), f"view {name!r}, {spec.source}"
    times, measured = info.times_s, info.times_s is not None and not is_even(info.times_s)
    stated = _timestamps(spec.source)
    if stated is not None:
        check_timestamps(stated, info.n_frames, info.fps, where)
        times, measured = stated, True
    elif spec.fps is not None:
        times, measured = _places(info) / spec.fps, True
    if times is not None:
        times = times + spec.time_offset_s
    return _Camera(name, spec, info, FrameClock(info.n_frames, times, info.numbers, measured))


def _places(info: SourceInfo) -> FloatArray:
    """(n,) which picture each is, counted in frames from the first: numbers in names show where some are missing."""
    if info.numbers is None or len(info.numbers[0]) != 1:
        return np.arange(info.n_frames, dtype=np.float64)
    numbers = np.array(info.numbers, dtype=np.float64)[:, 0]
    steps = np.diff(numbers)
    return (
        np.asarray((numbers - numbers[0]) / steps.min())
        if (steps % steps.min() == 0).all()
        else np.arange(len(numbers), dtype=float)
    )


def _timestamps(source: str) -> FloatArray | None:
    """(n,) seconds from the file next to the source, None without one."""
    path = _timestamps_file(source)
    if path is None:
        return None
    try:
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path, delimiter=",", ndmin=1)
        return np.asarray(values, dtype=np.float64)
    except Exception as error:  # NumPy reads a damaged header as Python, which fails in as many ways
        raise RecordingError(f"{path}: expected one time in seconds per frame ({error})") from error


def _timestamps_file(source: str) -> Path | None:
    base = Path(source)
    paths = [base.with_name(f"{base.stem}.timestamps{suffix}") for suffix in (".npy", ".txt", ".csv")]
    return next((path for path in paths if path.is_file()), None)


def _check_timestamps_of_all(spec: RecordingSpec, where: str) -> None:
    files = {name: _timestamps_file(view.source) for name, view in spec.views.items()}
    without = [name for name, path in files.items() if path is None]
    if without and len(without) < len(files):
        have = ", ".join(f"{name!r} ({path.name})" for name, path in files.items() if path is not None)
        raise RecordingError(
            f"{where}: there are timestamps for {have}, but none for {', '.join(map(repr, without))}; clocks cannot be compared. "
            "Add the missing files, or take the others away"
        )


def _check_complete(recording: Recording, where: str) -> None:
    if 2 * recording.n_complete >= len(recording.frames):
        return
    counts = ", ".join(f"{view!r} {sum(view in frame.images for frame in recording.frames)}" for view in recording.views)
    raise RecordingError(
        f"{where}: only {recording.n_complete} of {len(recording.frames)} instants have a picture of every view ({counts}). "
        "Check that the sources are of one recording; time_offset_s shifts a camera's clock, 'pairing' says what pairs pictures, "
        "start and stop leave out what not all cameras saw"
    )


def _notes(where: str, pairs: Pairs, cameras: Sequence[_Camera]) -> list[str]:
    total = len(pairs.matches[pairs.reference])
    notes = [
        f"{where}: view {name!r} has no picture at {missing} of {total} instants (those of {pairs.reference!r})"
        for name, match in pairs.matches.items()
        if (missing := int((match < 0).sum()))
    ]
    for camera in cameras:
        sizes = set(camera.info.sizes_px or ())
        if len(sizes) > 1:
            text = ", ".join(f"{width} × {height}" for width, height in sorted(sizes))
            notes.append(f"{where}: view {camera.name!r} has pictures of {len(sizes)} sizes ({text})")
    firsts = {camera.name: camera.info.first_s for camera in cameras if camera.info.times_s is not None}
    steps = [period(camera.info.times_s) for camera in cameras if camera.info.times_s is not None and camera.info.n_frames > 1]
    if len(firsts) > 1 and steps and max(firsts.values()) - min(firsts.values()) > 2.5 * min(steps):
        text = ", ".join(f"{view!r} {first:.3f} s" for view, first in firsts.items())
        notes.append(
            f"{where}: the files' own times start apart ({text}); counted from each first frame, shift with time_offset_s"
        )
    return notes
