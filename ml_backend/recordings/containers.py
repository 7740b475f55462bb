"""What a video file holds, by its packets alone: which frames, in which order, at which times, and where decoding may start.

A frame is its place in the container's order of presentation.  Nothing is decoded for that, so a frame that later turns out
to be damaged has its place all the same; only streams without times that also reorder frames are decoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from label_config.values import BoolArray, FloatArray, IntArray
from ml_backend.recordings.picture_errors import UnavailableImageError, UnreadableImageError
from ml_backend.recordings.pictures import Limits, check_pixels

# FFmpeg's messages through Python's logging: a decoder's thread waits for the interpreter, which waits for that thread.
av.logging.set_level(None)


def _no_matter() -> None:
    """Nobody watches."""


#: Called for every packet that is read: by it a process that is watched shows that it is getting on.
on_packet: Callable[[], None] = _no_matter
#: What FFmpeg's functions raise for files that are not as they should be.
DAMAGED = (av.FFmpegError, ValueError, OSError, OverflowError, ArithmeticError, MemoryError, RuntimeError, TypeError, LookupError)
#: Only containers of one file; playlists could name other files and addresses.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegts,asf,h264,hevc,mjpeg,m4v,mpegvideo,"
    "av1,obu,ivf,flv,mjpeg_2000,dv,yuv4mpegpipe"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
#: AVFMT_NOTIMESTAMPS: the times of raw streams are FFmpeg's guess.
_NO_TIMES = 0x80
#: Codecs whose every frame stands for itself.
INTRA_ONLY = {"mjpeg", "png", "prores", "dnxhd", "rawvideo", "huffyuv", "ffvhuff", "utvideo", "dvvideo", "jpeg2000", "mjpegb"}
#: Codecs whose frames come out in the order in which they went in.
_IN_ORDER = INTRA_ONLY | {"vp8", "vp9", "av1", "libdav1d", "ffv1", "h263", "flv1", "wmv1", "wmv2", "msmpeg4v2", "msmpeg4v3"}
#: Containers in which a seek lands anywhere, also in the middle of a frame.
_WITHOUT_INDEX = ("mpeg", "mpegts")
#: The first slice of a packet begins within so many bytes.
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class ContainerContents:
    """The video stream of a file.  *Packets* are numbered in the order of the file; *frames* in that of presentation.

    packet     (n,) the packet of each frame
    stamps     (packets,) presentation time of each packet in ticks, or its number where the file has none
    shown      (packets,) True when a frame comes of it; edit lists and hidden references have packets without one
    starts     (packets,) True when decoding can start here without any frame before it
    reference  (packets,) False when no other frame is coded as a change of this one
    times_s    (n,) seconds since the first frame; None when the container has no times
    first_s    time of the first frame in the container
    fps        frames per second; None when the container does not say
    stamped    False when ``stamps`` are only numbers
    seekable   False when only reading from the start finds a packet for certain
    """

    codec: str
    size_px: tuple[int, int]
    packet: IntArray
    stamps: IntArray
    shown: BoolArray
    starts: BoolArray
    reference: BoolArray
    times_s: FloatArray | None
    first_s: float
    fps: float | None
    stamped: bool
    seekable: bool

    @property
    def n_frames(self) -> int:
        return len(self.packet)

    @cached_property
    def frame_of(self) -> dict[int, int]:
        """Stamp → frame."""
        return {int(stamp): i for i, stamp in enumerate(self.stamps[self.packet])}

    @cached_property
    def packet_of(self) -> dict[int, int]:
        """Stamp → packet."""
        return {int(stamp): i for i, stamp in enumerate(self.stamps)}

    @cached_property
    def start_of(self) -> IntArray:
        """(packets,) the packet from which each can be decoded: the last start neither stored nor shown after it; -1 without."""
        starts = np.flatnonzero(self.starts)
        place = np.searchsorted(starts, np.arange(len(self.stamps)), side="right") - 1
        while (late := (place >= 0) & (self.stamps[starts[place.clip(0)]] > self.stamps if len(starts) else False)).any():
            place = place - late
        return np.where(place >= 0, starts[place.clip(0)], -1) if len(starts) else np.full(len(self.stamps), -1)


def look(path: str, limits: Limits) -> ContainerContents:
    """Contents of a video.  Raises UnreadableImageError for a file without a usable video."""
    try:
        stat = Path(path).stat()
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        problem = "no such file; is its disk mounted?" if missing else f"cannot be read ({error})"
        raise UnavailableImageError(path, problem) from error
    if not Path(path).is_file():
        raise UnavailableImageError(path, "no such file; is its disk mounted?")
    contents = _look(path, stat.st_mtime_ns, stat.st_size)
    check_pixels(contents.size_px, path, limits)
    return contents


@contextmanager
def opened(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its video stream.  Raises UnreadableImageError when FFmpeg cannot open it."""
    try:
        container = av.open(f"file:{path}", options=_OPTIONS, metadata_errors="replace")
    except DAMAGED as error:
        raise UnreadableImageError(
            path, f"cannot be opened as a video: damaged, or of an unknown kind ({reason(error)})"
        ) from error
    try:
        streams = [stream for stream in container.streams.video if "attached_pic" not in str(stream.disposition)]
        if not streams:
            raise UnreadableImageError(path, "holds no video")
        yield container, streams[0]
    finally:
        container.close()


def reason(error: BaseException) -> str:
    """FFmpeg's words, without the file's name, which the caller gives."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


@lru_cache(maxsize=256)
def _look(path: str, _changed_ns: int, n_bytes: int) -> ContainerContents:
    with opened(path) as (container, stream):
        if stream.codec_context is None or not stream.codec_context.name:
            raise UnreadableImageError(path, "its codec is unknown")
        context = stream.codec_context
        raw = bool(int(container.format.flags) & _NO_TIMES)
        rate = None if raw or not stream.average_rate else float(stream.average_rate)
        tick_s = float(stream.time_base or 0)
        rows = list(_packets(container, stream, n_bytes))
        kind, codec, size_px = container.format.name, context.name, (int(context.width), int(context.height))
    pts = [row[0] for row in rows]
    shown = np.array([row[2] for row in rows], dtype=np.bool_)
    stamped = not raw and None not in pts and len(set(pts)) == len(pts)
    numbers = np.arange(len(rows))
    stamps = np.array(pts, dtype=np.int64) if stamped else numbers
    if stamped or codec in _IN_ORDER:
        packet = numbers[shown][np.argsort(stamps[shown], kind="stable")]
    else:
        packet = _order_by_decoding(path, shown)
    ticks = stamps[packet] if stamped else _decoding_times(rows, packet, raw)
    times = None if ticks is None or not len(ticks) or tick_s <= 0 else (ticks - ticks[0]) * tick_s
    return ContainerContents(
        codec=codec,
        size_px=size_px,
        packet=packet,
        stamps=stamps,
        shown=shown,
        starts=np.array([row[3] for row in rows], dtype=np.bool_),
        reference=np.array([row[4] for row in rows], dtype=np.bool_),
        times_s=times,
        first_s=0.0 if times is None or ticks is None else float(ticks[0] * tick_s),
        fps=_rate(times, rate),
        stamped=stamped,
        seekable=stamped and kind not in _WITHOUT_INDEX,
    )


_Row = tuple[int | None, int | None, bool, bool, bool]


def demux(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Packets until the end, or until the file is too damaged to go on."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except DAMAGED:
            return
        on_packet()
        if packet.size:
            yield packet


def _packets(container: InputContainer, stream: VideoStream, n_bytes: int) -> Iterator[_Row]:
    """(pts, dts, shown, start, reference) of each packet."""
    codec, length_bytes = stream.codec_context.name, _length_bytes(stream.codec_context.extradata)
    for number, packet in enumerate(demux(container, stream)):
        if number > n_bytes:
            return  # more packets than bytes: the index is damaged
        head = bytes(memoryview(packet)[:_HEAD_BYTES])
        start, reference, shown = packet.is_keyframe, not packet.is_disposable, not packet.is_discard
        if codec == "h264":
            whole, referred = _h264(head, length_bytes)
            start, reference = start and whole, reference and referred
        elif codec in ("vp8", "libvpx"):
            shown = shown and bool(head[0] >> 4 & 1)
        yield packet.pts, packet.dts, shown, start or codec in INTRA_ONLY, reference and codec not in INTRA_ONLY


def _length_bytes(extradata: bytes | None) -> int:
    """Bytes of the length before each NAL unit (ISO 14496-15, avcC); 0 where start codes part them."""
    return (extradata[4] & 3) + 1 if extradata and len(extradata) > 4 and extradata[0] == 1 else 0


def _h264(head: bytes, length_bytes: int) -> tuple[bool, bool]:
    """(an IDR picture, used as a reference) from the first slice in a packet: ITU-T H.264, 7.3.1.

    Key frames that are no IDR pictures follow on from earlier ones when they come in the middle of a stream.
    """
    for unit in _units(head, length_bytes):
        kind = unit & 31
        if kind in (1, 2, 5):
            return kind == 5, bool(unit >> 5 & 3)
    return False, True


def _units(head: bytes, length_bytes: int) -> Iterator[int]:
    """First byte of each NAL unit."""
    at = 0
    while length_bytes and at + length_bytes < len(head):
        yield head[at + length_bytes]
        at += length_bytes + int.from_bytes(head[at : at + length_bytes], "big")
    while not length_bytes and 0 <= (at := head.find(b"\0\0\1", at)) < len(head) - 3:
        at += 3
        yield head[at]


def _order_by_decoding(path: str, shown: BoolArray) -> IntArray:
    """Packets in the order in which their frames come out; those whose frame does not come keep their place among neighbours."""
    came: list[int] = []
    with opened(path) as (container, stream):
        context = stream.codec_context
        context.thread_type = "AUTO"
        for number, packet in enumerate(demux(container, stream)):
            packet.pts, packet.dts = number, None
            came += _stamps_of(context, packet)
        came += _stamps_of(context, None)
    missing = sorted(set(np.flatnonzero(shown).tolist()) - set(came))
    order = [number for number in dict.fromkeys(came) if number < len(shown) and shown[number]]
    for number in missing:
        place = next((i for i, other in enumerate(order) if other > number), len(order))
        order.insert(place, number)
    return np.array(order, dtype=np.int64)


def _stamps_of(context: Any, packet: Packet[Any] | None) -> list[int]:
    try:
        return [int(frame.pts) for frame in context.decode(packet) if frame.pts is not None]
    except DAMAGED:
        return []


def _decoding_times(rows: list[_Row], packet: IntArray, raw: bool) -> IntArray | None:
    """(n,) ticks from decoding times, which are those of presentation but for a constant, where all packets have one."""
    dts = [rows[int(number)][1] for number in packet]
    if raw or None in dts:
        return None
    return np.sort(np.array(dts, dtype=np.int64))


def _rate(times_s: FloatArray | None, stated: float | None) -> float | None:
    if times_s is None:
        return None
    if stated and 0 < stated < 1e5:
        return stated
    return float((len(times_s) - 1) / times_s[-1]) if len(times_s) > 1 and times_s[-1] > 0 else None
