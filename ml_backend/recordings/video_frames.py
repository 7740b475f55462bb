"""Frames of a video by their number, decoded with FFmpeg, in this process (``videos`` has it done by another).

Decoding starts at the last key frame before what is asked for, and a frame is recognised by its presentation time: a seek
gives what decoding from the start gives, and a damaged packet is the error of its own frame and of those coded as changes of it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Any

import numpy as np
from av.packet import Packet
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from label_config.values import ByteArray
from ml_backend.recordings.containers import DAMAGED, INTRA_ONLY, ContainerContents, demux, look, opened, reason
from ml_backend.recordings.picture_errors import UnreadableImageError
from ml_backend.recordings.pictures import DEFAULT_LIMITS, Limits

#: Threads of one decoder.
THREADS = 2
#: A frame that has not come when so many later packets were decoded will not come: 16 frames of reordering, and the threads.
LATE_PACKETS = 16 + 2 * THREADS
#: Gaps of fewer packets are read over, longer ones jumped.
_JUMP_PACKETS = 64
#: A codec that gives no frame out of so many does not work here.
_TRIAL_FRAMES = 50

Decoded = ByteArray | UnreadableImageError


def read_video(path: str, indices: Sequence[int], limits: Limits = DEFAULT_LIMITS) -> Iterator[tuple[int, Decoded]]:
    """Frames of a video; ``indices`` increase strictly.

    Yields (index, (h, w, 3) RGB, upright), or the error for a frame that cannot be had; raises UnreadableImageError when the
    file cannot be opened at all.
    """
    contents = look(path, limits)
    inside = [index for index in indices if 0 <= index < contents.n_frames]
    yield from _Reader(path, contents, limits).read(inside)
    for index in indices[len(inside) :]:
        where = f"{path}, frame {index}"
        yield index, UnreadableImageError(where, f"cannot be decoded: the video ends after {contents.n_frames} frames")


def first_frame(path: str, limits: Limits = DEFAULT_LIMITS) -> ByteArray:
    """(h, w, 3) RGB of the first frame that can be decoded.  Raises UnreadableImageError when none of the first ones can."""
    contents = look(path, limits)
    problem: UnreadableImageError | None = None
    for _, picture in read_video(path, range(min(contents.n_frames, _TRIAL_FRAMES)), limits):
        if not isinstance(picture, UnreadableImageError):
            return picture
        problem = problem or picture
    raise UnreadableImageError(
        path,
        f"none of its first {_TRIAL_FRAMES} frames can be decoded (codec {contents.codec}; {problem or 'it holds no frame'}); "
        "convert it, for example with: ffmpeg -i in -c:v libx264 -crf 12 out.mp4",
    )


class _Reader:
    """Decodes the file in runs, each from a packet that needs none before it."""

    def __init__(self, path: str, contents: ContainerContents, limits: Limits) -> None:
        self._path, self._contents, self._limits = path, contents, limits
        self._to_rgb = VideoReformatter()  # one for all frames: each has threads of its own until it is collected

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, Decoded]]:
        contents, file = self._contents, _File(self._path, self._contents)
        try:
            run: list[int] = []
            for index in indices:
                start = int(contents.start_of[contents.packet[index]])
                if start < 0:
                    yield index, self._error(index, "there is no key frame before it to decode it from")
                    continue
                if run and start > int(contents.packet[run[-1]]) + _JUMP_PACKETS:
                    yield from self._run(file, run)
                    run = []
                run.append(index)
            if run:
                yield from self._run(file, run)
        finally:
            file.close()

    def _run(self, file: _File, indices: Sequence[int]) -> Iterator[tuple[int, Decoded]]:
        """Frames that one start and what follows it gives, in their order."""
        contents, held, todo = self._contents, dict[int, VideoFrame](), deque(indices)
        packets = contents.packet[list(indices)]
        start = int(contents.start_of[packets].min())
        fate = _Fate(contents, start)
        for decoded, frames in file.decode(start, int(packets.max()) + LATE_PACKETS):
            for frame in frames:
                index = contents.frame_of.get(frame.pts) if frame.pts is not None else None
                if index is not None:
                    fate.came(int(contents.packet[index]), not frame.is_corrupt)
                    held[index] = frame
            fate.settle(decoded)
            while todo and fate.settled > int(contents.packet[todo[0]]):
                index = todo.popleft()
                yield index, self._outcome(index, held.pop(index, None), fate)
            for index in [index for index in held if not todo or index < todo[0]]:
                del held[index]
            if not todo:
                return

    def _outcome(self, index: int, frame: VideoFrame | None, fate: _Fate) -> Decoded:
        packet = int(self._contents.packet[index])
        other = fate.damaged_before(packet)
        if other is not None:
            place = self._contents.frame_of.get(int(self._contents.stamps[other]))
            return self._error(index, f"it is coded as a change of frame {place}, whose data are damaged")
        if frame is None or frame.is_corrupt:
            return self._error(index, "its data are damaged")
        if (frame.width, frame.height) != self._contents.size_px:
            width, height = self._contents.size_px
            return self._error(index, f"it has {frame.width} × {frame.height} pixels, unlike the video with {width} × {height}")
        try:
            return _upright(frame, self._to_rgb)
        except DAMAGED as error:
            return self._error(index, reason(error))

    def _error(self, index: int, problem: str) -> UnreadableImageError:
        return UnreadableImageError(f"{self._path}, frame {index}", f"cannot be decoded: {problem}")


class _Fate:
    """What became of the packets of a run: a whole frame, a damaged one, or none."""

    def __init__(self, contents: ContainerContents, start: int) -> None:
        self._contents = contents
        self._whole: dict[int, bool] = {}
        self._bad: dict[int, int] = {}  # start → the first damaged reference after it
        self.settled = start  #: everything before this packet is known for good

    def came(self, packet: int, whole: bool) -> None:
        self._whole[packet] = whole

    def settle(self, decoded: float) -> None:
        """Every packet up to ``decoded`` has been decoded."""
        contents = self._contents
        while self.settled < len(contents.stamps):
            packet = self.settled
            hidden = not contents.shown[packet]
            if not hidden and packet not in self._whole and decoded < packet + LATE_PACKETS:
                return
            if not hidden and contents.reference[packet] and not self._whole.get(packet, False):
                self._bad.setdefault(int(contents.start_of[packet]), packet)
            self.settled += 1

    def damaged_before(self, packet: int) -> int | None:
        """The damaged packet of which this one is a change, as far as the container shows; None without."""
        bad = self._bad.get(int(self._contents.start_of[packet]))
        return bad if bad is not None and bad < packet else None


class _File:
    """An open file and the place that it has been read to."""

    def __init__(self, path: str, contents: ContainerContents) -> None:
        self._path, self._contents, self._open = path, contents, ExitStack()
        self._rewind()

    def close(self) -> None:
        self._open.close()

    def _rewind(self) -> None:
        self._open.close()
        self._container, self._stream = self._open.enter_context(opened(self._path))
        context = self._stream.codec_context
        # FFmpeg 8.1 now and then crashes on damaged VP9 whose frames are decoded side by side.
        context.thread_type = "SLICE" if self._contents.codec == "vp9" else "AUTO"
        context.thread_count = THREADS
        if self._contents.codec in INTRA_ONLY:
            # Decoders of single pictures fill in what is missing and say nothing; the others mark their frames.
            context.options = {"err_detect": "explode"}
        self._packets: Iterator[Packet[VideoStream]] = demux(self._container, self._stream)
        self._next = 0  # number of the packet that comes next

    def decode(self, start: int, last: int) -> Iterator[tuple[float, list[VideoFrame]]]:
        """(packet, frames that came out when it went in) from ``start`` to ``last``; at the end (inf, what was left inside)."""
        self._go_to(start)
        context = self._stream.codec_context
        while self._next <= last and (packet := next(self._packets, None)) is not None:
            number, self._next = self._next, self._next + 1
            if not self._contents.stamped:
                packet.pts, packet.dts = number, None
            yield number, _decoded(context, packet)
        yield math.inf, _decoded(context, None)

    def _go_to(self, start: int) -> None:
        """The next packet is ``start``, and the decoder remembers nothing."""
        if self._next > start:
            self._rewind()
        if self._contents.seekable and start > self._next + _JUMP_PACKETS and not self._jump(start):
            self._rewind()
        while self._next < start and next(self._packets, None) is not None:
            self._next += 1
        if self._stream.codec_context.is_open:
            self._stream.codec_context.flush_buffers()

    def _jump(self, start: int) -> bool:
        """By the container's index; the packet that is found there says where that is.  False when it does not."""
        try:
            self._container.seek(int(self._contents.stamps[start]), stream=self._stream, backward=True)
        except DAMAGED:
            return False
        packets = demux(self._container, self._stream)
        first = next(packets, None)
        number = self._contents.packet_of.get(first.pts) if first is not None and first.pts is not None else None
        if first is None or number is None or number > start:
            return False
        self._packets, self._next = chain([first], packets), number
        return True


def _decoded(context: Any, packet: Packet[Any] | None) -> list[VideoFrame]:
    try:
        return list(context.decode(packet))
    except DAMAGED:
        return []  # its frame does not come


def _upright(frame: VideoFrame, to_rgb: VideoReformatter) -> ByteArray:
    """(h, w, 3) RGB, turned and mirrored as the container's display matrix says."""
    picture: ByteArray = np.asarray(to_rgb.reformat(frame, format="rgb24", threads=THREADS).to_ndarray(), dtype=np.uint8)
    a, b, c, d = _matrix(frame)
    if a == 0 and d == 0 and b and c:
        picture = picture.transpose(1, 0, 2)
        a, d = c, b
    if a < 0:
        picture = picture[:, ::-1]
    if d < 0:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def _matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """(a, b, c, d) of the display matrix: a point (x, y) is shown at (a·x + c·y, b·x + d·y); ISO 14496-12, 6.2.2."""
    side_data: Any = frame.side_data
    held = side_data.get(Type.DISPLAYMATRIX)
    if held is None:
        return 1, 0, 0, 1
    values = np.frombuffer(bytes(held), dtype=np.int32)
    return int(values[0]), int(values[1]), int(values[3]), int(values[4])
