"""Frames of a video by their number, decoded by a process that may die of them (``frames`` says how)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from label_config.values import ByteArray, FloatArray
from ml_backend.recordings.decoding import Answer, DecoderDiedError, decoding_process, raise_refusal
from ml_backend.recordings.picture_errors import UnreadableImageError
from ml_backend.recordings.pictures import DEFAULT_LIMITS, Limits

#: Where the decoder died, frames are asked for one by one until so many came: it decodes ahead of what it gives.
_CAREFUL = 32
#: A file that so many decoders died of is not tried any further.
_MOST_DEATHS = 4

Decoded = ByteArray | UnreadableImageError


@dataclass(frozen=True)
class Video:
    """What the container says; see ``sources.SourceInfo``."""

    n_frames: int
    size_px: tuple[int, int]
    fps: float | None
    times_s: FloatArray | None
    first_s: float


def look(path: str, limits: Limits = DEFAULT_LIMITS) -> Video:
    """What is in a video, of which at least one of the first frames can be decoded.  Raises UnreadableImageError."""
    found = decoding_process(limits).one({"kind": "video", **_asked(path, limits)}, path)
    times_s = None if found["times_s"] is None else np.array(found["times_s"], dtype=np.float64)
    width, height = found["size_px"]
    return Video(found["n_frames"], (width, height), found["fps"], times_s, found["first_s"])


def read_video(path: str, indices: Sequence[int], limits: Limits = DEFAULT_LIMITS) -> Iterator[tuple[int, Decoded]]:
    """Frames of a video; ``indices`` increase strictly.

    Yields (index, (h, w, 3) RGB, upright), or the error for a frame that cannot be had, also because the decoder dies of it;
    raises UnreadableImageError when the file cannot be opened at all.
    """
    todo, deaths, careful = deque(indices), 0, 0
    while todo:
        wanted = [todo[0]] if careful else list(todo)
        try:
            for index, picture in _frames(path, wanted, limits):
                todo.popleft()
                yield index, picture
            careful = max(careful - 1, 0)
        except DecoderDiedError as error:
            deaths += 1
            problem = f"cannot be decoded: the decoder died of it ({error}); convert the file with another program"
            if deaths >= _MOST_DEATHS:
                yield from ((index, UnreadableImageError(f"{path}, frame {index}", problem)) for index in todo)
                return
            if careful:  # it was alone
                index = todo.popleft()
                yield index, UnreadableImageError(f"{path}, frame {index}", problem)
            careful = _CAREFUL


def _frames(path: str, indices: Sequence[int], limits: Limits) -> Iterator[tuple[int, Decoded]]:
    request = {"kind": "frames", "indices": [int(index) for index in indices], **_asked(path, limits)}
    for answer in decoding_process(limits).stream(request):
        if "index" not in answer:
            raise_refusal(answer)
        yield answer["index"], _decoded(answer)


def _decoded(answer: Answer) -> Decoded:
    try:
        raise_refusal(answer)
    except UnreadableImageError as error:
        return error
    pixels: ByteArray = answer["pixels"]
    return pixels


def _asked(path: str, limits: Limits) -> Answer:
    return {"path": path, "where": path, "limits": asdict(limits)}
