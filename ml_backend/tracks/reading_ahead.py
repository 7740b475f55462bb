"""The pictures of a recording in the order in which they are predicted, decoded ahead of it.

Videos are read forwards once.  Every source has a thread, behind which a process decodes, and a queue of a limited size.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from label_config.values import ByteArray, Frame, ImageRef
from ml_backend.recordings import UnreadableImageError

Picture = ByteArray | UnreadableImageError
#: References → (position, picture), each video read forwards once: ``recordings.iter_images`` with its limits.
Stream = Callable[[Sequence[ImageRef]], Iterator[tuple[int, Picture]]]
#: Bytes of pictures that wait, all sources together; and how many at most for each.
AHEAD_BYTES, MOST_AHEAD = 256 * 2**20, 64
_POLL_S = 0.1


class ReadingAhead:
    """Hands out pictures from ``first`` on: use it as a context, and ask for frames that rise."""

    def __init__(self, frames: Sequence[Frame], views: Sequence[str], stream: Stream, first: int = 0) -> None:
        self._over = threading.Event()
        groups = list(_views_by_source(frames, views))
        biggest = max((w * h * 3 for frame in frames[:1] for w, h in _sizes(frame)), default=1 << 20)
        ahead = max(2, min(MOST_AHEAD, AHEAD_BYTES // (biggest * max(len(groups), 1))))
        self._sources = [_Source(frames, views, group, stream, first, ahead, self._over) for group in groups]

    def __enter__(self) -> Self:
        for source in self._sources:
            source.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        for source in self._sources:
            source.join()

    def pictures(self, until: int) -> Iterator[tuple[int, int, Picture]]:
        """(frame, view, picture or what is wrong with it) of all frames before ``until`` that were not handed out yet."""
        for source in self._sources:
            yield from source.pictures(until)


def _sizes(frame: Frame) -> list[tuple[int, int]]:
    return [ref.size_px for ref in frame.images.values() if ref.size_px is not None]


def _views_by_source(frames: Sequence[Frame], views: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """Views whose pictures are parts of the same ones are read together."""
    groups: dict[int, list[int]] = {}
    for v, view in enumerate(views):
        refs = (frame.images.get(view) for frame in frames)
        groups.setdefault(hash(tuple((ref.source, ref.frame_index) if ref else None for ref in refs)), []).append(v)
    return map(tuple, groups.values())


class _Source(threading.Thread):
    def __init__(
        self,
        frames: Sequence[Frame],
        views: Sequence[str],
        group: Sequence[int],
        stream: Stream,
        first: int,
        ahead: int,
        over: threading.Event,
    ) -> None:
        super().__init__(name="pictures", daemon=True)
        self._slots = [(f, v) for f in range(first, len(frames)) for v in group if views[v] in frames[f].images]
        self._refs = [frames[f].images[views[v]] for f, v in self._slots]
        self._stream, self._over = stream, over
        self._queue: queue.Queue[tuple[int, Picture] | BaseException] = queue.Queue(ahead)
        self._next = 0

    def run(self) -> None:
        try:
            for item in self._stream(self._refs):
                if not self._put(item):
                    return
        except BaseException as error:  # whoever takes pictures raises it
            self._put(error)

    def _put(self, item: tuple[int, Picture] | BaseException) -> bool:
        while not self._over.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def pictures(self, until: int) -> Iterator[tuple[int, int, Picture]]:
        while self._next < len(self._slots) and self._slots[self._next][0] < until:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            position, picture = item
            self._next += 1
            yield *self._slots[position], picture
