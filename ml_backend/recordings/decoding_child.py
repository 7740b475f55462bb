"""The program of ``decoding``: decodes pictures, pages and frames under limits on memory and work, and may die of them.

Requests on standard input: ``decoding.HEAD``, a JSON text, and data.  Answers on standard output are lines of JSON.  Pixels lie
in shared memory, parted into ``decoding.SLOTS`` slots, which the parent makes as large as this process asks for.
The parent acknowledges that, and every picture that it has taken, with one byte: so the next frames are decoded meanwhile.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from label_config.values import ByteArray
from ml_backend.child_processes.memory_limit import limit_memory
from ml_backend.recordings import containers
from ml_backend.recordings.decoding import HEAD, SLOTS
from ml_backend.recordings.picture_errors import UnavailableImageError, UnreadableImageError
from ml_backend.recordings.pictures import Limits, decode_picture
from ml_backend.recordings.pixels import decode_page
from ml_backend.recordings.video_frames import first_frame, read_video

#: So often it says that it is getting on.
BEAT_S = 1.0
#: Work without any progress after which it ends: seconds of CPU time, so that a busy machine is no reason.
CPU_S = 10.0


class _Parent:
    """The other end of the pipes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._room = descriptor, 0
        self._shared = mmap.mmap(-1, 1)
        self._sent = self._taken = 0
        # What libraries print is no answer.
        self._answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._last_s = time.monotonic()

    def ask(self) -> tuple[dict[str, Any], bytes] | None:
        head = sys.stdin.buffer.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        words, data = HEAD.unpack(head)
        return json.loads(sys.stdin.buffer.read(words)), sys.stdin.buffer.read(data)

    def say(self, **answer: Any) -> None:
        self._last_s = time.monotonic()
        self._answers.write(json.dumps(answer).encode() + b"\n")
        self._answers.flush()

    def beat(self) -> None:
        """Another packet, or another request."""
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        if time.monotonic() - self._last_s > BEAT_S:
            self.say(busy=True)

    def give(self, picture: ByteArray, **answer: Any) -> None:
        """(h, w, 3) pixels."""
        if picture.nbytes > self._room:
            self._acknowledged(self._sent)
            self.say(room=picture.nbytes)
            self._read_byte()
            self._room = picture.nbytes
            self._shared = mmap.mmap(self._descriptor, SLOTS * self._room)
        self._acknowledged(self._sent + 1 - SLOTS)
        offset = self._sent % SLOTS * self._room
        np.frombuffer(self._shared, dtype=np.uint8, count=picture.nbytes, offset=offset)[:] = picture.ravel()
        self.say(shape=picture.shape, offset=offset, **answer)
        self._sent += 1

    def end(self) -> None:
        self.say(end=True)
        self._acknowledged(self._sent)

    def _acknowledged(self, count: int) -> None:
        while self._taken < count:
            self._read_byte()
            self._taken += 1

    @staticmethod
    def _read_byte() -> None:
        if not sys.stdin.buffer.read(1):
            os._exit(0)  # the parent has gone


def serve(descriptor: int, allowance: int) -> None:
    """Answer requests until the parent has gone."""
    cv2.setNumThreads(1)
    parent = _Parent(descriptor)
    containers.on_packet = parent.beat
    limit_memory(allowance)
    while (asked := parent.ask()) is not None:
        request, data = asked
        parent.beat()
        try:
            KINDS[request["kind"]](parent, request, data)
        except UnreadableImageError as error:
            parent.say(**_words(error))
        except (cv2.error, MemoryError, ValueError) as error:
            problem = f"cannot be decoded ({getattr(error, 'err', None) or error or 'memory ran out'})"
            parent.say(**_words(UnreadableImageError(request["where"], problem)))
        parent.end()


def _words(error: UnreadableImageError) -> dict[str, Any]:
    return {"where": error.where, "problem": error.problem, "unavailable": isinstance(error, UnavailableImageError)}


def _picture(parent: _Parent, request: dict[str, Any], data: bytes) -> None:
    parent.give(decode_picture(data, request["where"], Limits(**request["limits"])))


def _page(parent: _Parent, request: dict[str, Any], _: bytes) -> None:
    parent.give(decode_page(request["path"], request["place"]))


def _video(parent: _Parent, request: dict[str, Any], _: bytes) -> None:
    """What the container says, and the size of the first frame, upright."""
    limits, path = Limits(**request["limits"]), request["path"]
    height, width, _channels = first_frame(path, limits).shape
    found = containers.look(path, limits)
    times = None if found.times_s is None else found.times_s.tolist()
    parent.say(n_frames=found.n_frames, size_px=(width, height), fps=found.fps, times_s=times, first_s=found.first_s)


def _frames(parent: _Parent, request: dict[str, Any], _: bytes) -> None:
    for index, found in read_video(request["path"], request["indices"], Limits(**request["limits"])):
        if isinstance(found, UnreadableImageError):
            parent.say(index=index, **_words(found))
        else:
            parent.give(found, index=index)


KINDS: dict[str, Callable[[_Parent, dict[str, Any], bytes], None]] = {
    "picture": _picture,
    "page": _page,
    "video": _video,
    "frames": _frames,
}
