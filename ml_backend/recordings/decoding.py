"""Files of others are decoded in a child process: one that exhausts memory or crashes the decoder costs the child.

Children are kept for the next request.  Pixels come back through shared memory (see ``decoding_child``).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from typing import IO, Any

import numpy as np

from label_config.values import ByteArray
from ml_backend.child_processes.child_environment import child_environment
from ml_backend.recordings.picture_errors import UnavailableImageError, UnreadableImageError
from ml_backend.recordings.pictures import Limits, check_encoded

#: Decoders hold coefficients, 16-bit samples and earlier frames beside the pixels: address space per pixel of the largest one …
BYTES_PER_PIXEL = 20
#: … and for everything that does not grow with it: 2 GB in all with the default limits.
SPARE_BYTES = 256 * 2**20
#: Whoever kills processes, for want of memory say, may have hit the child by chance: only the second time it is the picture.
TRIES = 2
#: A child that shows no progress for so long hangs, be it that others keep the machine busy; of itself it ends after
#: ``decoding_child.CPU_S`` of work without any.
ANSWER_S = 60.0
#: Children that wait for the next request.
MOST_IDLE = 2
#: Head of a request: bytes of the JSON text, bytes of the data after it.
HEAD = struct.Struct("<QQ")
#: Pictures that may be on their way at once.
SLOTS = 2

#: (encoded picture, name for errors, limits) → (h, w, 3) RGB; ``pictures.decode_picture`` is one.
Decode = Callable[[bytes, str, Limits], ByteArray]
#: Key → value, as ``decoding_child`` says it; ``pixels`` are a picture.
Answer = dict[str, Any]


class DecoderDiedError(Exception):
    """The child ended, hung or answered nonsense."""


class DecodingProcess:
    """Children that decode.  Safe to share between threads; requests that overlap get a child each.

    As a function it is a :data:`Decode`.  ``limits`` are the largest that it will be asked for: they bound the children's memory.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._allowance = BYTES_PER_PIXEL * limits.max_pixels + 2 * limits.max_bytes + SPARE_BYTES
        self._lock = threading.Lock()
        self._idle: list[_Child] = []

    def __call__(self, data: bytes, where: str, limits: Limits) -> ByteArray:
        """See ``pictures.decode_picture``; a picture that children die of is unreadable, and the next one gets a new child."""
        check_encoded(data, where, limits)
        pixels: ByteArray = self.one({"kind": "picture", "where": where, "limits": asdict(limits)}, where, data)["pixels"]
        return pixels

    def one(self, request: Answer, where: str, data: bytes = b"") -> Answer:
        """The single answer.  Raises UnreadableImageError, also where children die of it."""
        why: DecoderDiedError | None = None
        for _ in range(TRIES):
            try:
                answer, *_rest = self.stream(request, data)
            except DecoderDiedError as error:
                why = error
                if isinstance(error.__cause__, TimeoutError):  # another child would need as long
                    raise UnreadableImageError(where, f"cannot be decoded: {error}; save it anew with another program") from error
                continue
            raise_refusal(answer)
            return answer
        raise UnreadableImageError(
            where, f"cannot be decoded: the decoder died of it {TRIES} times ({why}); save it anew with another program"
        )

    def stream(self, request: Answer, data: bytes = b"") -> Iterator[Answer]:
        """Answers as they come.  Raises DecoderDiedError; who stops early costs the child its life."""
        child, whole = self._take(), False
        try:
            yield from child.answers(request, data, 3 * self._limits.max_pixels)
            whole = True
        except OSError as error:
            raise DecoderDiedError(str(error)) from error
        finally:
            if not whole or not self._keep(child):
                child.end()

    def _take(self) -> _Child:
        with self._lock:
            return self._idle.pop() if self._idle else _Child(self._allowance)

    def _keep(self, child: _Child) -> bool:
        """For the next request, unless there are enough."""
        with self._lock:
            enough = len(self._idle) >= MOST_IDLE
            self._idle += [] if enough else [child]
            return not enough

    def close(self) -> None:
        """End the children; the next request starts another."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()

    def forget(self) -> None:
        """After a fork: these are the children of another process."""
        self._lock, self._idle = threading.Lock(), []


def raise_refusal(answer: Answer) -> None:
    """Raise the UnreadableImageError that an answer may be."""
    if "problem" in answer:
        kind = UnavailableImageError if answer["unavailable"] else UnreadableImageError
        raise kind(answer["where"], answer["problem"])


class _Child:
    """The running program and the memory that it shares with us.  Its errors are OSErrors."""

    def __init__(self, allowance: int) -> None:
        self._memory = _anonymous_file()
        self._shared = mmap.mmap(-1, 1)
        descriptor = self._memory.fileno()
        # No setting of Python's that a folder or a user could have made.
        program = f"import sys; sys.path[:] = {sys.path!r}; "
        program += f"from ml_backend.recordings.decoding_child import serve; serve({descriptor}, {allowance})"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=child_environment(MALLOC_ARENA_MAX="2"),
            pass_fds=[descriptor],
        )
        self._unread = b""

    def answers(self, request: Answer, data: bytes, most_bytes: int) -> Iterator[Answer]:
        """Answers to one request; ``most_bytes`` is what one picture may have."""
        words = json.dumps(request).encode()
        self._write(HEAD.pack(len(words), len(data)) + words)
        self._write(data)
        while "end" not in (answer := self._line()):
            if "room" in answer:
                self._make_room(answer["room"], most_bytes)
                self._write(b".")
            elif "shape" in answer:
                answer["pixels"] = self._picture(answer)
                self._write(b".")
                yield answer
            elif "busy" not in answer:
                yield answer

    def _make_room(self, room: int, most_bytes: int) -> None:
        if not 0 < room <= most_bytes:
            raise OSError("it answered nonsense")
        self._memory.truncate(SLOTS * room)
        self._shared = mmap.mmap(self._memory.fileno(), SLOTS * room)

    def _picture(self, answer: Answer) -> ByteArray:
        height, width, channels = answer["shape"]
        if channels != 3 or not 0 <= answer["offset"] <= len(self._shared) - height * width * 3:
            raise OSError("it answered nonsense")
        flat: ByteArray = np.frombuffer(self._shared, dtype=np.uint8, count=height * width * 3, offset=answer["offset"])
        return flat.reshape(height, width, 3).copy()

    def _write(self, data: bytes) -> None:
        stdin, left = self._process.stdin, memoryview(data)
        assert stdin is not None
        while left:
            left = left[stdin.write(left) or 0 :]

    def _line(self) -> Answer:
        stdout = self._process.stdout
        assert stdout is not None
        parts = [self._unread]
        while b"\n" not in parts[-1]:
            if not select.select([stdout], [], [], ANSWER_S)[0]:
                raise OSError(f"no answer for {ANSWER_S:.0f} s")
            parts.append(stdout.read(1 << 20))
            if not parts[-1]:
                status = self._process.wait()
                if status == -signal.SIGPROF:
                    raise TimeoutError("the decoder was not done after its time of work")
                raise OSError(f"status {status}")
        line, _, self._unread = b"".join(parts).partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise OSError("it answered nonsense")
        return answer

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
    """The one of this process, whose children end with it."""
    process = DecodingProcess(limits)
    atexit.register(process.close)
    os.register_at_fork(after_in_child=process.forget)
    return process
