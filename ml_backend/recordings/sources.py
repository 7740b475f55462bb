"""Videos, folders of pictures and patterns on disk: what is in them, and frames of a video by exact index."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from label_config.values import BadInputError, ByteArray
from ml_backend.recordings.decoding import Decode
from ml_backend.recordings.errors import UnreadableImageError
from ml_backend.recordings.pictures import DEFAULT_LIMITS, PICTURE_SUFFIXES, Limits, check_pixels, decode_picture

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".webm", ".wmv", ".mjpeg", ".h264", ".ts")


@dataclass(frozen=True)
class SourceInfo:
    """What a source says about itself.

    n_frames  frames by the container's own count (video) or number of pictures
    size_px   (width, height) of a decoded picture, upright, before any crop
    fps       frames per second; None for pictures and for videos that do not say
    pictures  the files in natural order; None for a video
    """

    n_frames: int
    size_px: tuple[int, int]
    fps: float | None
    pictures: tuple[str, ...] | None = None


def is_video(source: str | Path) -> bool:
    """By its suffix."""
    return Path(source).suffix.lower() in VIDEO_SUFFIXES


def probe(source: str | Path, limits: Limits = DEFAULT_LIMITS) -> SourceInfo:
    """Look into a video, a picture, a folder of pictures or a glob pattern.

    Raises BadInputError when nothing usable is there and UnreadableImageError when it cannot be opened.
    """
    if is_video(source) and not glob.has_magic(str(source)):
        capture = _open(str(source), limits)
        fps = capture.get(cv2.CAP_PROP_FPS)
        info = SourceInfo(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), _size(capture), float(fps) if fps > 0 else None)
        capture.release()
        return info
    pictures = list_pictures(source)
    first = read_picture(pictures[0], limits)
    return SourceInfo(len(pictures), (first.shape[1], first.shape[0]), None, tuple(pictures))


def list_pictures(source: str | Path) -> list[str]:
    """The pictures of a file, folder or glob pattern, numbers within names in numeric order (img2 before img10)."""
    path = Path(source)
    if path.is_dir():
        found = [str(item) for item in path.iterdir() if item.suffix.lower() in PICTURE_SUFFIXES and item.is_file()]
    elif path.is_file():
        found = [str(path)]
    else:
        found = [name for name in glob.glob(str(source)) if Path(name).is_file()]
    if not found:
        problem = "holds no picture" if path.is_dir() else "no such file, folder or pattern with matches"
        raise BadInputError(
            f"{source}: {problem}; expected a video ({' '.join(VIDEO_SUFFIXES[:4])} …) or pictures ({' '.join(PICTURE_SUFFIXES)})"
        )
    return sorted(found, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def read_picture(path: str, limits: Limits = DEFAULT_LIMITS, decode: Decode = decode_picture) -> ByteArray:
    """(h, w, 3) RGB of a picture file.  Raises UnreadableImageError."""
    try:
        size = Path(path).stat().st_size
        if size > limits.max_bytes:
            raise UnreadableImageError(
                path, f"expected at most {limits.max_bytes:,} bytes, got {size:,}; raise cache.max_megabytes"
            )
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise UnreadableImageError(path, f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    return decode(data, path, limits)


def read_video(
    path: str, indices: Sequence[int], limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[int, ByteArray | UnreadableImageError]]:
    """Frames of a video by exact index in decode order.

    ``indices`` increase strictly.  Frames in between are decoded and dropped: container seeks land on neighbouring frames
    in many files.  Yields (index, (h, w, 3) RGB), or the error for a frame that cannot be had; raises when the file
    cannot be opened at all.
    """
    capture = _open(path, limits)
    try:
        position = 0
        for index in indices:
            while position <= index and capture.grab():
                position += 1
            ok, picture = capture.retrieve() if position == index + 1 else (False, None)
            if ok and picture is not None:
                yield index, np.ascontiguousarray(picture[..., ::-1])
            else:
                yield (
                    index,
                    UnreadableImageError(f"{path}, frame {index}", f"cannot be decoded: the video ends after {position} frames"),
                )
    finally:
        capture.release()


def _open(path: str, limits: Limits) -> cv2.VideoCapture:
    if not Path(path).is_file():
        raise UnreadableImageError(path, "no such file")
    capture = cv2.VideoCapture(path)
    if not capture.isOpened():
        raise UnreadableImageError(path, "OpenCV cannot open this video: damaged, or a codec that it does not have")
    check_pixels(_size(capture), path, limits)
    return capture


def _size(capture: cv2.VideoCapture) -> tuple[int, int]:
    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
