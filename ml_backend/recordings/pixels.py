"""What OpenCV decodes, of any depth and kind, as 8-bit pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

#: Flags of OpenCV: all bits of a sample, grey or colour as in the file.
_EVERYTHING = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH


def decode_bgr(data: bytes) -> npt.NDArray[Any]:
    """Encoded picture → uint8 (h, w, 3) BGR, turned upright by its EXIF orientation.  Raises ValueError and cv2.error."""
    picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), _EVERYTHING)
    if picture is None:
        raise ValueError("the file is damaged, or of a kind that OpenCV does not read")
    return bgr_of(picture)


def decode_page(path: str, place: int) -> npt.NDArray[Any]:
    """Page of a TIFF file by its place in it → uint8 (h, w, 3) RGB.  Raises ValueError and cv2.error."""
    ok, found = cv2.imreadmulti(path, start=place, count=1, flags=_EVERYTHING)
    if not ok or not found:
        raise ValueError("the file is damaged, or of a kind that OpenCV does not read")
    return np.ascontiguousarray(bgr_of(np.asarray(found[0]))[..., ::-1])


def bgr_of(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What OpenCV decoded, grey or coloured, of any depth → uint8 (h, w, 3) BGR."""
    eight = to_8_bits(picture)
    return cv2.cvtColor(eight, cv2.COLOR_GRAY2BGR) if eight.ndim == 2 else eight


def to_8_bits(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Samples of any kind → uint8.

    Whole numbers: full scale is the smallest of 8, 10, 12, 14 and 16 bits that holds the largest sample, since cameras store
    12 bits in 16.  Floating point: 0 to 1 is full scale, else the same rule; where a sample is negative or above 16 bits, the
    lowest to the highest one.  NaN and infinities are black.
    """
    if samples.dtype == np.uint8:
        return samples
    values = np.where(np.isfinite(samples), samples, 0).astype(np.float64)
    low, high = min(float(values.min()), 0.0), float(values.max())
    if not np.issubdtype(samples.dtype, np.integer) and high <= 1 and low >= 0:
        full = 1.0
    elif low >= 0 and high < 65536:
        full = next(2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2.0**bits)
    else:
        low, full = float(values.min()), high
    return ((values - low) * (255.0 / max(full - low, 1e-300))).round().clip(0, 255).astype(np.uint8)
