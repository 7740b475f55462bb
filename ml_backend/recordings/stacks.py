"""TIFF files that hold many pages: each page is a frame."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from label_config.values import ByteArray
from ml_backend.recordings.decoding import decoding_process
from ml_backend.recordings.picture_errors import UnavailableImageError, UnreadableImageError
from ml_backend.recordings.pictures import DEFAULT_LIMITS, Limits, check_pixels, tiff_pages

TIFF_SUFFIXES = (".tif", ".tiff")


def is_stack(source: str) -> bool:
    """Whether frames of this file are pages."""
    return Path(source).suffix.lower() in TIFF_SUFFIXES


def count_pages(path: str) -> int:
    """Pages at full size; 1 for a file that is no TIFF."""
    return len(_pages(path)) if is_stack(path) else 1


def read_stack(
    path: str, indices: Sequence[int], limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[int, ByteArray | UnreadableImageError]]:
    """(index, (h, w, 3) RGB) of pages, or what is wrong with one."""
    pages = _pages(path)
    for index in indices:
        try:
            yield index, _read(path, index, pages, limits)
        except UnreadableImageError as error:
            yield index, error


def read_page(path: str, index: int, limits: Limits = DEFAULT_LIMITS) -> ByteArray:
    """(h, w, 3) RGB of one page.  Raises UnreadableImageError."""
    return _read(path, index, _pages(path), limits)


def _read(path: str, index: int, pages: Sequence[tuple[int, tuple[int, int]]], limits: Limits) -> ByteArray:
    where = f"{path}, page {index}"
    if not 0 <= index < len(pages):
        raise UnreadableImageError(where, f"the file ends after {len(pages)} pages")
    place, size_px = pages[index]
    check_pixels(size_px, where, limits)
    request = {"kind": "page", "path": path, "place": place, "where": where}
    pixels: ByteArray = decoding_process(limits).one(request, where)["pixels"]
    return pixels


def _pages(path: str) -> list[tuple[int, tuple[int, int]]]:
    try:
        return tiff_pages(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise UnavailableImageError(path, f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except (struct.error, IndexError) as error:
        raise UnreadableImageError(path, "is cut off within the list of its pages") from error
