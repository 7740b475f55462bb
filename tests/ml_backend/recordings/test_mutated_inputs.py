"""Damaged videos, pictures and timestamps: a value or a ParallaxError, never anything else, nor more than 10 s or 2 GB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from label_config.settings.recording_settings import RecordingSettings as RecordingSpec
from label_config.settings.recording_settings import ViewSource
from ml_backend.recordings.picture_errors import UnreadableImageError
from ml_backend.recordings.recording import open_recording
from ml_backend.recordings.sources import probe
from ml_backend.recordings.stacks import is_stack, read_stack
from ml_backend.recordings.videos import read_video
from tests.campaign import Target, campaign

from .conftest import encode, encode_video, numbered_picture

VIDEOS: dict[str, tuple[str, dict[str, Any]]] = {
    "mp4": ("libx264", {"bf": "2"}),
    "mkv": ("libx264", {"bf": "0"}),
    "webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "avi": ("mjpeg", {}),
    "ts": ("mpeg2video", {"bf": "2"}),
    "h264": ("libx264", {}),
}
PICTURES = ["jpg", "png", "webp", "bmp", "tiff"]
TIMES = ["npy", "txt", "csv"]


def video(folder: Path, kind: str) -> Target:
    codec, options = VIDEOS[kind]
    return encode_video(folder / f"whole.{kind}", codec, 12, size=(64, 48), **options), read


def picture(folder: Path, kind: str) -> Target:
    path = folder / f"whole.{kind}"
    if kind == "tif":
        cv2.imwritemulti(str(path), [numbered_picture(i) for i in range(4)])
    else:
        path.write_bytes(encode(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8), f".{kind}"))
    return path, read


def timestamps(folder: Path, kind: str) -> Target:
    """The times of four pages of a TIFF, beside it."""
    source, times = picture(folder, "tif")[0], [0.0, 0.034, 0.0667, 0.1]
    path = source.with_name(f"whole.timestamps.{kind}")
    if kind == "npy":
        np.save(path, np.array(times))
    else:
        path.write_text("\n".join(map(str, times)))
    spec = RecordingSpec(sequence="run", views={"cam": ViewSource(source=str(source))})
    return path, lambda _: open_recording(spec)


def read(path: Path) -> None:
    """Probe a source and read a few of its frames; one that is refused is raised at the end."""
    info, refused = probe(path), None
    frames = {i for i in (0, 1, info.n_frames // 2, info.n_frames - 1) if 0 <= i < info.n_frames}
    for _, found in (read_stack if is_stack(str(path)) else read_video)(str(path), sorted(frames)) if not info.pictures else ():
        refused = found if isinstance(found, UnreadableImageError) else refused
    if refused:
        raise refused


EVERYTHING = [f"video:{k}" for k in VIDEOS] + [f"picture:{k}" for k in ("tif", *PICTURES)] + [f"timestamps:{k}" for k in TIMES]


@pytest.mark.parametrize(
    "count", [100, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])], ids=["a few", "many"]
)
@pytest.mark.parametrize("kind", EVERYTHING)
def test_damaged_files_are_read_or_refused(kind: str, count: int, tmp_path: Path) -> None:
    found = campaign(f"{__name__}:{kind}", tmp_path, count)
    assert (found.problems, found.deaths) == ((), ())
    assert found.refused > count // 10  # the changes do damage
