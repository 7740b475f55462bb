"""Encoded pictures → pixels, after the header has shown that they are small enough to decode."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from label_config.settings.spec import Cache
from label_config.values import ByteArray
from ml_backend.recordings.picture_errors import UnavailableImageError, UnreadableImageError
from ml_backend.recordings.pixels import decode_bgr

_TIFF = (b"II*\0", b"MM\0*")
#: Headers end before, but for files that keep them at the end.
_HEAD_BYTES = 65536
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Limits:
    """The largest picture that is opened at all: pixels after decoding, bytes before."""

    max_pixels: int = 80_000_000
    max_bytes: int = 64 * 1024 * 1024


DEFAULT_LIMITS = Limits()


def limits_of(cache: Cache) -> Limits:
    """Those of parallax.yaml, which every reader of pictures needs."""
    return Limits(int(cache.max_megapixels * 1e6), int(cache.max_megabytes * 2**20))


def decode_picture(data: bytes, where: str, limits: Limits = DEFAULT_LIMITS) -> ByteArray:
    """(h, w, 3) RGB, turned upright by its EXIF orientation as a browser shows it.

    ``where`` names the picture in errors.  Raises UnreadableImageError for anything but a whole picture within the limits.
    """
    check_encoded(data, where, limits)
    try:
        picture = decode_bgr(data)
    except (cv2.error, ValueError, MemoryError) as error:
        raise UnreadableImageError(where, f"cannot be decoded ({getattr(error, 'err', error)})") from error
    return np.ascontiguousarray(picture[..., ::-1])


def check_encoded(data: bytes, where: str, limits: Limits) -> tuple[int, int]:
    """(width, height) by the header of a picture that is worth decoding.  Raises UnreadableImageError for any other."""
    if len(data) > limits.max_bytes:
        raise UnavailableImageError(
            where, f"expected at most {limits.max_bytes:,} bytes, got {len(data):,}; raise cache.max_megabytes"
        )
    size_px = header_size(data, where)
    check_pixels(size_px, where, limits)
    if data[:4] in _TIFF and (pages := _count_pages(data)) > 1:
        raise UnreadableImageError(
            where, f"holds {pages} pages, of which each may be a frame; give it as a view's source of its own, or split it"
        )
    _check_complete(data, where)
    return size_px


def _count_pages(data: bytes) -> int:
    try:
        return len(tiff_pages(data))
    except (struct.error, IndexError):
        return 1  # what can be read is the first


def check_pixels(size_px: tuple[int, int], where: str, limits: Limits) -> None:
    """Raise UnreadableImageError unless 0 < width · height ≤ the limit."""
    width, height = size_px
    if width < 1 or height < 1:
        raise UnreadableImageError(where, f"its header says {width} × {height} pixels")
    if width * height > limits.max_pixels:
        megapixels = limits.max_pixels / 1e6
        raise UnavailableImageError(
            where, f"expected at most {megapixels:g} megapixels, got {width} × {height}; raise cache.max_megapixels"
        )


def header_size(data: bytes, where: str) -> tuple[int, int]:
    """(width, height) as stored, from the header alone.  Raises UnreadableImageError for an unknown or cut header."""
    try:
        size = _header_size(data)
    except (struct.error, IndexError) as error:
        raise UnreadableImageError(where, f"is cut off within its header, after {len(data)} bytes") from error
    if size is None:
        raise UnreadableImageError(where, f"expected a JPEG, PNG, WebP, BMP or TIFF picture, got bytes that start {data[:12]!r}")
    return size


def _header_size(data: bytes) -> tuple[int, int] | None:
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    if data.startswith(b"BM"):
        width, height = struct.unpack("<ii", data[18:26])
        return width, abs(height)
    if data[:4] in _TIFF:
        return _tiff_size(data)
    return None


def _jpeg_segments(data: bytes) -> tuple[tuple[int, int], int]:
    """((width, height) of the start-of-frame segment, offset of the compressed data)."""
    offset, size = 2, (0, 0)
    while True:
        (marker,) = struct.unpack(">H", data[offset : offset + 2])
        if marker == 0xFFFF:  # fill byte
            offset += 1
            continue
        (length,) = struct.unpack(">H", data[offset + 2 : offset + 4])
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack(">HH", data[offset + 5 : offset + 9])
            size = (width, height)
        offset += 2 + length
        if marker == 0xFFDA:
            return size, offset


def _jpeg_size(data: bytes) -> tuple[int, int]:
    return _jpeg_segments(data)[0]


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff_size(data: bytes) -> tuple[int, int]:
    return tiff_pages(data, most=1)[0][1]


_WIDTH, _HEIGHT, _ORIENTATION, _SUBFILE = 256, 257, 274, 254


def tiff_pages(data: bytes, most: int = 100_000) -> list[tuple[int, tuple[int, int]]]:
    """(place in the file, (width, height)) of the pages at full size; thumbnails and masks are no pages.

    Raises struct.error and IndexError for a list that is cut off.
    """
    order = "<" if data[:2] == b"II" else ">"
    (offset,) = struct.unpack(order + "I", data[4:8])
    pages: list[tuple[int, tuple[int, int]]] = []
    seen: set[int] = set()
    while offset and offset not in seen and len(pages) < most:
        place = len(seen)
        seen.add(offset)
        tags, offset = _tiff_directory(data, offset, order)
        if not tags.get(_SUBFILE, 0) & 5 or not pages:
            pages.append((place, (tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0))))
    return pages or [(0, (0, 0))]


def _tiff_directory(data: bytes, offset: int, order: str) -> tuple[dict[int, int], int]:
    """(tag → value of its whole numbers, offset of the next directory, 0 for none); TIFF 6.0, section 2."""
    (count,) = struct.unpack(order + "H", data[offset : offset + 2])
    tags = {}
    for entry in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind = struct.unpack(order + "HH", data[entry : entry + 4])
        if tag in (_WIDTH, _HEIGHT, _ORIENTATION, _SUBFILE):
            (tags[tag],) = struct.unpack(order + ("H" if kind == 3 else "I"), data[entry + 8 : entry + (10 if kind == 3 else 12)])
    end = offset + 2 + 12 * count
    following = data[end : end + 4]
    return tags, struct.unpack(order + "I", following)[0] if len(following) == 4 else 0


def upright_size(path: str) -> tuple[int, int]:
    """(width, height) of a picture file as it is shown, from its header.  Raises UnreadableImageError."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD_BYTES)
            try:
                return _shown_size(head, path)
            except UnreadableImageError:
                return _shown_size(head + file.read(), path)
    except OSError as error:
        raise UnavailableImageError(path, f"cannot be read ({error.strerror or error})") from error


def _shown_size(data: bytes, where: str) -> tuple[int, int]:
    width, height = header_size(data, where)
    exif = data.find(b"Exif\0\0", 0, _HEAD_BYTES) + 6
    if data[:2] == b"\xff\xd8" and exif > 6:
        try:
            tags, _ = _tiff_directory(data[exif:], *_first_directory(data[exif:]))
        except struct.error:
            return width, height
        if tags.get(_ORIENTATION, 1) >= 5:  # turned by a quarter
            return height, width
    return width, height


def _first_directory(data: bytes) -> tuple[int, str]:
    order = "<" if data[:2] == b"II" else ">"
    return struct.unpack(order + "I", data[4:8])[0], order


def browsers_show(path: str | Path) -> bool:
    """Whether a browser shows a picture file as we decode it: no TIFF, and no more than 8 bits per sample."""
    if Path(path).suffix.lower() in (".tif", ".tiff"):
        return False
    try:
        with Path(path).open("rb") as file:
            head = file.read(32)
    except OSError:
        return True  # whoever reads it says what is wrong
    return not head.startswith(b"\x89PNG") or len(head) < 25 or head[24] <= 8


def _check_complete(data: bytes, where: str) -> None:
    """OpenCV fills the missing rest of a cut JPEG or PNG with grey and says nothing: look for the end marks."""
    if data.startswith(b"\xff\xd8"):
        complete = data.rfind(b"\xff\xd9") >= _jpeg_segments(data)[1]
    elif data.startswith(b"\x89PNG"):
        complete = data.rfind(b"IEND") > 0
    else:
        return
    if not complete:
        raise UnreadableImageError(where, f"is cut off after {len(data):,} bytes: the end mark is missing; copy the file again")
