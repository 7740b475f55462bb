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

import cv2
import numpy as np

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
    picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("the file is damaged")
    if picture.nbytes > len(shared):
        raise ValueError(f"it has {picture.shape[1]} × {picture.shape[0]} pixels, more than its header says")
    np.frombuffer(shared, dtype=np.uint8, count=picture.nbytes)[:] = picture.ravel()
    return picture.shape[0], picture.shape[1]


if __name__ == "__main__":
    main()
