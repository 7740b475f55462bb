"""Videos, folders of pictures and patterns on disk: what is in them."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from label_config.values import ByteArray, FloatArray
from label_config.values.errors import RecordingError
from ml_backend.recordings.decoding import Decode
from ml_backend.recordings.pairing import Numbers
from ml_backend.recordings.picture_errors import UnavailableImageError
from ml_backend.recordings.pictures import DEFAULT_LIMITS, PICTURE_SUFFIXES, Limits, decode_picture, upright_size
from ml_backend.recordings.stacks import count_pages, read_page
from ml_backend.recordings.videos import look

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".webm", ".wmv", ".mjpeg", ".h264", ".ts")


@dataclass(frozen=True)
class SourceInfo:
    """What a source says about itself.

    n_frames  frames by the container's own count (video) or number of pictures
    size_px   (width, height) of the first decoded picture, upright, before any crop
    fps       frames per second; None for pictures and for videos that do not say
    pictures  the files in natural order; None for a video
    sizes_px  those of every picture; None for a video
    numbers   of every picture the numbers that vary within the names; None for a video and where names do not differ in numbers
    times_s   (n,) seconds since the first frame; None for pictures and for videos that do not say
    first_s   time of the first frame in the container
    """

    n_frames: int
    size_px: tuple[int, int]
    fps: float | None
    pictures: tuple[str, ...] | None = None
    sizes_px: tuple[tuple[int, int], ...] | None = None
    numbers: Numbers | None = None
    times_s: FloatArray | None = None
    first_s: float = 0.0


def is_video(source: str | Path) -> bool:
    """By its suffix."""
    return Path(source).suffix.lower() in VIDEO_SUFFIXES


def probe(source: str | Path, limits: Limits = DEFAULT_LIMITS) -> SourceInfo:
    """Look into a video, a picture, a folder of pictures or a glob pattern.

    Raises BadInputError when nothing usable is there and UnreadableImageError when it cannot be opened.
    """
    if is_video(source) and not glob.has_magic(str(source)):
        found = look(str(source), limits)
        return SourceInfo(found.n_frames, found.size_px, found.fps, times_s=found.times_s, first_s=found.first_s)
    pictures = list_pictures(source)
    if len(pictures) == 1 and (pages := count_pages(pictures[0])) > 1:
        first = read_page(pictures[0], 0, limits)
        return SourceInfo(pages, (first.shape[1], first.shape[0]), None)
    first = read_picture(pictures[0], limits)
    sizes = tuple(upright_size(picture) for picture in pictures)
    return SourceInfo(
        len(pictures),
        (first.shape[1], first.shape[0]),
        None,
        tuple(pictures),
        sizes,
        varying_numbers([Path(p).stem for p in pictures]),
    )


def varying_numbers(names: Sequence[str]) -> Numbers | None:
    """Of each name the numbers that are not the same in all: ``cam1_0007_640x480`` and its like have the second.

    None when the rest of the names differs, when nothing varies, or when two names have the same numbers.
    """
    parts = [re.split(r"(\d+)", name) for name in names]
    if len({tuple(part[::2]) for part in parts}) != 1:
        return None
    columns = [column for column in zip(*(map(int, part[1::2]) for part in parts), strict=True) if len(set(column)) > 1]
    numbers = tuple(zip(*columns, strict=True))
    return numbers if len(set(numbers)) == len(names) and columns else None


def list_pictures(source: str | Path) -> list[str]:
    """The pictures of a file, folder or glob pattern, numbers within names in numeric order (img2 before img10)."""
    path = Path(source)
    if path.is_dir():
        found = [str(item) for item in path.iterdir() if _is_picture(item)]
    elif path.is_file():
        found = [str(path)]
    else:
        found = [name for name in glob.glob(str(source)) if _is_file(Path(name))]
    if not found:
        problem = "holds no picture" if path.is_dir() else "no such file, folder or pattern with matches"
        raise RecordingError(
            f"{source}: {problem}; expected a video ({' '.join(VIDEO_SUFFIXES[:4])} …) or pictures ({' '.join(PICTURE_SUFFIXES)})"
        )
    return sorted(found, key=_natural)


def _is_picture(item: Path) -> bool:
    return item.suffix.lower() in PICTURE_SUFFIXES and _is_file(item)


def _is_file(item: Path) -> bool:
    """Hidden files are notes of the system's: macOS writes ``._name`` beside every ``name`` on foreign disks."""
    return not item.name.startswith(".") and item.is_file()


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def read_picture(path: str, limits: Limits = DEFAULT_LIMITS, decode: Decode = decode_picture) -> ByteArray:
    """(h, w, 3) RGB of a picture file.  Raises UnreadableImageError."""
    try:
        size = Path(path).stat().st_size
        if size > limits.max_bytes:
            raise UnavailableImageError(
                path, f"expected at most {limits.max_bytes:,} bytes, got {size:,}; raise cache.max_megabytes"
            )
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise UnavailableImageError(path, f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    return decode(data, path, limits)
