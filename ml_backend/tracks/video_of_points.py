"""Tracks drawn into the pictures: one H.264 video with all cameras side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from label_config.values import ByteArray, FloatArray, Frame
from ml_backend.recordings import UnreadableImageError
from ml_backend.tracks.reading_ahead import ReadingAhead, Stream
from ml_backend.tracks.track_arrays import Tracks

#: Height of one camera, and of the whole at most, in pixels.
HEIGHT, LARGEST = 480, 1440
#: Points below this confidence are drawn hollow.
SURE = 0.5
_COLOURS = {"left": (255, 120, 60), "right": (70, 150, 255), "centre": (90, 220, 110)}


def render(
    tracks: Tracks, frames: Sequence[Frame], stream: Stream, path: Path, *, progress: Callable[[int], None] = lambda _: None
) -> None:
    """Every instant of the recording; a camera without a picture is black.  Solid points are sure, hollow ones are not."""
    columns = math.ceil(math.sqrt(len(tracks.views)))
    rows = math.ceil(len(tracks.views) / columns)
    height = min(HEIGHT, LARGEST // rows) // 2 * 2
    with ReadingAhead(frames, tracks.views, stream) as reader, av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=Fraction(tracks.fps or 30).limit_denominator(1001))
        video.pix_fmt, video.options = "yuv420p", {"crf": "23", "preset": "veryfast"}
        width = 0
        for f in range(len(frames)):
            tiles: list[ByteArray | None] = [None] * len(tracks.views)
            for _, v, picture in reader.pictures(f + 1):
                if not isinstance(picture, UnreadableImageError):
                    tiles[v] = drawn(tracks, f, v, picture, height)
            if not width:
                width = _width(frames, tracks, tiles, height)
                video.width, video.height = columns * width, rows * height
            board = np.zeros((rows * height, columns * width, 3), dtype=np.uint8)
            for v, tile in enumerate(tiles):
                if tile is not None:
                    y, x = v // columns * height, v % columns * width
                    part = tile[:height, :width]
                    board[y : y + part.shape[0], x : x + part.shape[1]] = part
            container.mux(video.encode(av.VideoFrame.from_ndarray(board, format="rgb24")))
            progress(f + 1)
        container.mux(video.encode())


def _width(frames: Sequence[Frame], tracks: Tracks, tiles: Sequence[ByteArray | None], height: int) -> int:
    """Of the widest camera, even as the codec wants it."""
    sizes = [ref.size_px for view in tracks.views for frame in frames[:1] if (ref := frame.images.get(view)) and ref.size_px]
    widths = [height * w / h for w, h in sizes] + [tile.shape[1] for tile in tiles if tile is not None]
    return max(2, round(max(widths, default=height) / 2) * 2)


def drawn(tracks: Tracks, at: int, view: int, picture: ByteArray, height: int) -> ByteArray:
    """A picture (h, w, 3) at another height, with the points and limbs of its instant."""
    scale = height / picture.shape[0]
    size = (max(1, round(picture.shape[1] * scale)), height)
    tile: ByteArray = np.ascontiguousarray(
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    )
    # Pixel centres lie at whole numbers in both pictures.
    xy = (tracks.xy_px[at, view] + 0.5) * scale - 0.5
    sure = tracks.confidence[at, view] >= SURE
    skeleton, radius = tracks.skeleton, max(2, height // 120)
    for a, b in skeleton.limbs:
        if np.isfinite(xy[[a, b]]).all():
            _line(tile, xy[a], xy[b], _COLOURS[skeleton.side(b)])
    for k, point in enumerate(xy):
        if np.isfinite(point).all():
            thickness = cv2.FILLED if sure[k] else 1
            cv2.circle(tile, _fixed(point), radius << _SHIFT, _COLOURS[skeleton.side(k)], thickness, cv2.LINE_AA, _SHIFT)
    label = f"{tracks.views[view]}  {tracks.index[at]}"
    cv2.putText(tile, label, (8, height - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


#: Binary places of OpenCV's coordinates.
_SHIFT = 4


def _fixed(point: FloatArray) -> tuple[int, int]:
    x, y = np.clip(np.rint(point * (1 << _SHIFT)), -(1 << 20), 1 << 20).astype(int).tolist()
    return x, y


def _line(tile: ByteArray, a: FloatArray, b: FloatArray, colour: tuple[int, int, int]) -> None:
    cv2.line(tile, _fixed(a), _fixed(b), colour, 1, cv2.LINE_AA, _SHIFT)
