"""The program of ``recordings.decoding``: decodes pictures under a limit on its memory, in a process that may die of them.

Run by its path, it imports nothing of Parallax.  Arguments: the file descriptor of the shared memory, the bytes of address
space that decoding may take on top of what the program itself needs.

Requests on standard input: length of the encoded picture, bytes of the shared memory that may be used (two uint64), the
picture.  Answers on standard output: height, width (two uint32; 0, 0 for an error), length of a message (uint32), the
message; the pixels, uint8 (h, w, 3) BGR, lie in the shared memory.
"""

from __future__ import annotations

import contextlib
import mmap
import resource
import struct
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

#: Flags of OpenCV: all bits of a sample, grey or colour as in the file.
EVERYTHING = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH

REQUEST, ANSWER = struct.Struct("<QQ"), struct.Struct("<III")


def main() -> None:
    descriptor, allowance = int(sys.argv[1]), int(sys.argv[2])
    cv2.setNumThreads(1)
    _limit(allowance)
    shared: mmap.mmap | None = None
    while len(head := sys.stdin.buffer.read(REQUEST.size)) == REQUEST.size:
        length, room = REQUEST.unpack(head)
        data = sys.stdin.buffer.read(length)
        if shared is None or len(shared) != room:
            shared = mmap.mmap(descriptor, room)
        try:
            height, width = _decode(data, shared)
            message = b""
        except (cv2.error, MemoryError, ValueError) as error:
            height = width = 0
            message = str(getattr(error, "err", None) or error or "memory ran out").encode()[:1000]
        sys.stdout.buffer.write(ANSWER.pack(height, width, len(message)) + message)
        sys.stdout.buffer.flush()


def _limit(allowance: int) -> None:
    """Where the system knows how large this process is, that and the allowance is all it may grow to."""
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * mmap.PAGESIZE + allowance
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _decode(data: bytes, shared: mmap.mmap) -> tuple[int, int]:
    picture = decode_bgr(data)
    if picture.nbytes > len(shared):
        raise ValueError(f"it has {picture.shape[1]} × {picture.shape[0]} pixels, more than its header says")
    np.frombuffer(shared, dtype=np.uint8, count=picture.nbytes)[:] = picture.ravel()
    return picture.shape[0], picture.shape[1]


def decode_bgr(data: bytes) -> npt.NDArray[Any]:
    """Encoded picture → uint8 (h, w, 3) BGR, turned upright by its EXIF orientation.  Raises ValueError and cv2.error."""
    picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), EVERYTHING)
    if picture is None:
        raise ValueError("the file is damaged, or of a kind that OpenCV does not read")
    return bgr_of(picture)


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


if __name__ == "__main__":
    main()
