"""Frames of a video: reading in order and at random, ours (PyAV) against OpenCV's ``VideoCapture`` as it was used before.

Usage: python -m bench.bench_video [--frames 300] [--codec libx264]

1080p, written here, with a key frame every 48 frames.  OpenCV decodes from the start and counts, since its seeks land on
neighbouring frames in many files; its own seeks are timed beside, with the share of frames that they miss.
Wall time in turn, both with two threads; nothing is cached but by the file system.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

from bench.measure import in_turn, peak_mib
from label_config.values import ByteArray
from ml_backend.recordings import UnreadableImageError
from ml_backend.recordings.videos import read_video

#: (video, frames) → the numbers of the frames that came.
Reader = Callable[[str, Sequence[int]], list[int]]
SIZE_PX = (1920, 1080)
REPEATS = 3


def write(path: Path, frames: int, codec: str) -> None:
    """A moving texture with noise, whose first row holds the frame's number as bits."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (1200, 2600), dtype=np.uint8), (0, 0), 3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"g": "48", "preset": "veryfast", "crf": "20"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE_PX, "yuv420p"
        for i in range(frames):
            grey = texture[10 : 10 + SIZE_PX[1], i : i + SIZE_PX[0], None]
            picture = np.repeat(np.asarray(grey, dtype=np.uint8), 3, axis=-1)
            for bit in range(12):
                picture[:64, bit * 160 : (bit + 1) * 160] = 255 * (i >> bit & 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def number(picture: ByteArray | UnreadableImageError) -> int:
    """The frame's number, from its pixels.  Raises the error that a frame is."""
    if isinstance(picture, UnreadableImageError):
        raise picture
    return sum(1 << bit for bit in range(12) if picture[8:56, bit * 160 + 40 : bit * 160 + 120].mean() > 127)


def ours(path: str, indices: Sequence[int]) -> list[int]:
    """Frame numbers found."""
    return [number(picture) for _, picture in read_video(path, sorted(indices))]


def one_by_one(path: str, indices: Sequence[int]) -> list[int]:
    """The same, each frame on its own, as a person who opens tasks asks for them."""
    return [found for index in indices for found in ours(path, [index])]


def opencv(path: str, indices: Sequence[int]) -> list[int]:
    """As frames were read before: from the start, counting."""
    capture, position, found = cv2.VideoCapture(path), 0, []
    for index in sorted(indices):
        while position <= index and capture.grab():
            position += 1
        found.append(number(np.ascontiguousarray(np.asarray(capture.retrieve()[1])[..., ::-1])))
    capture.release()
    return found


def opencv_one_by_one(path: str, indices: Sequence[int]) -> list[int]:
    """The same, each frame on its own."""
    return [found for index in indices for found in opencv(path, [index])]


def opencv_seeks(path: str, indices: Sequence[int]) -> list[int]:
    """With OpenCV's own seeks in one open file."""
    capture, found = cv2.VideoCapture(path), []
    for index in indices:
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        found.append(number(np.ascontiguousarray(np.asarray(capture.read()[1])[..., ::-1])))
    capture.release()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--codec", default="libx264")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write(path, options.frames, options.codec)
        print(f"{options.frames} frames of {SIZE_PX[0]} × {SIZE_PX[1]}, {options.codec}, {path.stat().st_size / 2**20:.0f} MiB")
        everything, few = range(options.frames), sorted(rng.choice(options.frames, 20, replace=False).tolist())
        shuffled = rng.permutation(few).tolist()
        compare(str(path), "all frames in order", everything, [("ours", ours), ("OpenCV", opencv)])
        compare(str(path), "20 frames in one go", few, [("ours", ours), ("OpenCV", opencv), ("OpenCV, seeks", opencv_seeks)])
        compare(str(path), "20 frames one by one", shuffled, [("ours", one_by_one), ("OpenCV", opencv_one_by_one)])
    print(f"peak RSS {peak_mib():.0f} MiB")


def compare(path: str, title: str, indices: Sequence[int], readers: Sequence[tuple[str, Reader]]) -> None:
    """One group of lines; every reader's frames are checked."""
    print(f"{title}:")
    calls = [partial(reader, path, indices) for _, reader in readers]
    missed = [np.mean([a != b for a, b in zip(call(), indices, strict=True)]) for call in calls]
    seconds = in_turn(calls, REPEATS, time.perf_counter)
    for column, (name, _) in enumerate(readers):
        factor = np.median(seconds[:, column] / seconds[:, 0])
        per_frame = 1e3 * np.median(seconds[:, column]) / len(indices)
        print(f"  {name:<16}{per_frame:8.1f} ms a frame   {factor:5.2f} × ours   wrong frames {missed[column]:.0%}", flush=True)


if __name__ == "__main__":
    main()
