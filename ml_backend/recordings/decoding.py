"""Pictures from elsewhere are decoded in a child process: one that exhausts memory or crashes the decoder costs the child.

One child serves the whole process.  The encoded picture goes through a pipe, its pixels come back through shared memory.
"""

from __future__ import annotations

import atexit
import contextlib
import mmap
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np

from label_config.values import ByteArray
from ml_backend.recordings.decoding_child import ANSWER, REQUEST
from ml_backend.recordings.errors import UnreadableImageError
from ml_backend.recordings.pictures import Limits, check_encoded

#: Decoders hold coefficients and 16-bit samples beside the pixels: address space per pixel of the largest picture allowed …
BYTES_PER_PIXEL = 16
#: … and for everything that does not grow with it.
SPARE_BYTES = 256 * 2**20
#: Whoever kills processes, for want of memory say, may have hit the child by chance: only the second time it is the picture.
TRIES = 2
#: A decoder that takes longer hangs.
ANSWER_S = 60.0

#: (encoded picture, name for errors, limits) → (h, w, 3) RGB; ``pictures.decode_picture`` is one.
Decode = Callable[[bytes, str, Limits], ByteArray]


class DecodingProcess:
    """A :data:`Decode` whose work is done by a child process.  Safe to share between threads.

    ``limits`` are the largest that it will be asked for: they bound the child's memory.
    """

    def __init__(self, limits: Limits) -> None:
        self._allowance = BYTES_PER_PIXEL * limits.max_pixels + 2 * limits.max_bytes + SPARE_BYTES
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def __call__(self, data: bytes, where: str, limits: Limits) -> ByteArray:
        """See ``pictures.decode_picture``; a picture that children die of is unreadable, and the next one gets a new child."""
        width, height = check_encoded(data, where, limits)
        with self._lock:
            for _ in range(TRIES):
                try:
                    return self._running().decode(data, where, width * height * 3)
                except OSError as error:
                    self._end()
                    why = error
                except UnreadableImageError:
                    raise
                except BaseException:  # in the middle of an answer, say by a signal
                    self._end()
                    raise
        raise UnreadableImageError(
            where, f"cannot be decoded: the decoder died of it {TRIES} times ({why}); save the picture anew with another program"
        )

    def _running(self) -> _Child:
        if self._child is None:
            self._child = _Child(self._allowance)
        return self._child

    def close(self) -> None:
        """End the child; the next picture starts another."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


class _Child:
    """The running program and the memory that it shares with us.  Its errors are OSErrors, but for pictures it refuses."""

    def __init__(self, allowance: int) -> None:
        self._memory = _anonymous_file()
        self._shared: mmap.mmap | None = None
        descriptor = self._memory.fileno()
        program = Path(__file__).with_name("decoding_child.py")
        # It needs one thread, and no setting of Python's that a folder or a user could have made.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(program), str(descriptor), str(allowance)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
            pass_fds=[descriptor],
        )

    def decode(self, data: bytes, where: str, room: int) -> ByteArray:
        shared = self._room(room)
        stdin = self._process.stdin
        assert stdin is not None
        for part in (REQUEST.pack(len(data), len(shared)), data):
            left = memoryview(part)
            while left:
                left = left[stdin.write(left) or 0 :]
        height, width, length = ANSWER.unpack(self._read(ANSWER.size))
        if length:
            raise UnreadableImageError(where, f"cannot be decoded ({self._read(length).decode(errors='replace')})")
        if height * width * 3 > len(shared):
            raise OSError("it answered nonsense")
        pixels: ByteArray = np.frombuffer(shared, dtype=np.uint8, count=height * width * 3)
        return np.ascontiguousarray(pixels.reshape(height, width, 3)[..., ::-1])

    def _room(self, room: int) -> mmap.mmap:
        if self._shared is None or len(self._shared) < room:
            self._memory.truncate(room)
            self._shared = mmap.mmap(self._memory.fileno(), room)
        return self._shared

    def _read(self, count: int) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        found = b""
        while len(found) < count:
            if not select.select([stdout], [], [], ANSWER_S)[0]:
                raise OSError(f"no answer for {ANSWER_S:.0f} s")
            part = stdout.read(count - len(found))
            if not part:
                raise OSError(f"status {self._process.wait()}")
            found += part
        return found

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._memory):
            with contextlib.suppress(OSError):
                if file is not None:
                    file.close()


def _anonymous_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("parallax-picture"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


@cache
def decoding_process(limits: Limits) -> DecodingProcess:
    """The one of this process, which ends with it."""
    process = DecodingProcess(limits)
    atexit.register(process.close)
    return process
