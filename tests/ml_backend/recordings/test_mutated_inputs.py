"""Damaged files of every kind: a value or a ParallaxError, never another exception, a crash, more than 10 s or 2 GB."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
VIDEOS = {
    "mp4": ("libx264", {"bf": "2"}),
    "mkv": ("libx264", {"bf": "0"}),
    "webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "avi": ("mjpeg", {}),
    "ts": ("mpeg2video", {"bf": "2"}),
    "h264": ("libx264", {}),
}
PICTURES = ["jpg", "png", "webp", "bmp", "tiff"]


@pytest.fixture
def base(request, make, tmp_path):
    """A small whole file of the kind that is asked for."""
    kind = request.param
    path = tmp_path / f"whole.{kind}"
    if kind in VIDEOS:
        codec, options = VIDEOS[kind]
        return make.encoded(path, codec, 12, size=(64, 48), **options)
    if kind == "tif":
        cv2.imwritemulti(str(path), [make.picture(i) for i in range(4)])
        return path
    path.write_bytes(make.encode(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8), f".{kind}"))
    return path


def mutate(base: Path, count: int) -> None:
    """Run the program in a process of its own, which may die of an input; ``seed`` then says of which."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "OPENCV_LOG_LEVEL": "OFF"}
    program = Path(__file__).with_name("mutations.py")
    command = [sys.executable, str(program), str(base), "0", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60 + count)
    seed = base.with_name("seed").read_text() if base.with_name("seed").exists() else "none"
    assert done.returncode == 0, f"died of seed {seed}, status {done.returncode}: {done.stderr[-2000:]}"
    *problems, last = done.stdout.strip().splitlines()
    assert not problems, "\n".join(problems)
    assert int(last.removeprefix("done ")) > count // 10  # the changes do damage


@pytest.mark.parametrize("base", [*VIDEOS, "tif", *PICTURES], indirect=True)
def test_mutated_files_are_read_or_refused(base):
    mutate(base, 200)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("base", [*VIDEOS, "tif", *PICTURES], indirect=True)
def test_many_mutated_files_are_read_or_refused(base):
    mutate(base, 10_000)
