"""Frames that become tasks are written as pictures of their own, so that Label Studio can serve them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from label_config.values import ByteArray, ImageRef
from label_config.values.atomic_files import write_atomically
from label_config.values.errors import RecordingError
from ml_backend.recordings.picture_errors import UnavailableImageError, UnreadableImageError
from ml_backend.recordings.pictures import DEFAULT_LIMITS, Limits
from ml_backend.recordings.reading import Fetches, iter_images, read_image

JPEG_QUALITY = 95


def write_picture(picture: ByteArray, target: str | Path) -> None:
    """Write (h, w, 3) RGB as JPEG (quality 95) or PNG, by the suffix of ``target``; others see a whole file or none."""
    suffix = Path(target).suffix.lower()
    if suffix not in (".jpg", ".jpeg", ".png"):
        raise RecordingError(f"{target}: expected a .jpg or .png file")
    options = [] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    ok, encoded = cv2.imencode(suffix, np.ascontiguousarray(picture[..., ::-1]), options)
    if not ok:
        raise RecordingError(f"{target}: a picture of shape {picture.shape} cannot be encoded")
    write_atomically(Path(target), encoded.tobytes())


def reduced(picture: ByteArray, longest_px: int | None) -> ByteArray:
    """The picture (h, w, 3) with sides of at most ``longest_px`` pixels, None = as it is; the pictures' corners coincide."""
    height, width = picture.shape[:2]
    if longest_px is None or max(height, width) <= longest_px:
        return picture
    scale = longest_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def extract_frame(
    ref: ImageRef, target: str | Path, fetcher: Fetches | None = None, limits: Limits = DEFAULT_LIMITS
) -> tuple[int, int]:
    """Write the picture of one view and return its (width, height).  Raises UnreadableImageError."""
    picture = read_image(ref, fetcher, limits)
    write_picture(picture, target)
    return picture.shape[1], picture.shape[0]


def extract_frames(
    wanted: Sequence[tuple[ImageRef, Path]],
    fetcher: Fetches | None = None,
    limits: Limits = DEFAULT_LIMITS,
    *,
    longest_px: int | None = None,
) -> dict[Path, UnreadableImageError]:
    """Write the picture of every view to its target, decoding each video once.

    longest_px  larger pictures are reduced to this longest side; not those whose size their reference does not say, since
                what is labelled on them could not be found in the full picture
    Returns target → what is wrong with its picture, for those that could not be written.
    """
    failed = {}
    for position, picture in iter_images([ref for ref, _ in wanted], fetcher, limits):
        target = wanted[position][1]
        if isinstance(picture, UnreadableImageError):
            failed[target] = picture
            continue
        try:
            write_picture(reduced(picture, longest_px if wanted[position][0].size_px else None), target)
        except OSError as error:  # a full or read-only disk says nothing about the picture
            failed[target] = UnavailableImageError(str(target), f"cannot be written ({error.strerror or error})")
    return failed
