"""Decoding in a child process: the same pixels, and nothing that a picture does reaches this process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from label_config.values import ByteArray
from ml_backend.recordings import decoding
from ml_backend.recordings.decoding import DecodingProcess
from ml_backend.recordings.errors import UnreadableImageError
from ml_backend.recordings.pictures import Limits, decode_picture

LIMITS = Limits(max_pixels=4_000_000)
#: Programs that do not answer as they should.  The head of a request is 16 bytes.
DIES = "import os, sys; sys.stdin.buffer.read(16); os.abort()"
HANGS = "import time; time.sleep(600)"
LIES = "import struct, sys; sys.stdin.buffer.read(16); sys.stdout.buffer.write(struct.pack('<III', 9999, 9999, 0))"


@pytest.fixture
def decode() -> Iterator[DecodingProcess]:
    process = DecodingProcess(LIMITS)
    yield process
    process.close()


def picture(width: int = 50, height: int = 30) -> ByteArray:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels: ByteArray, suffix: str = ".png") -> bytes:
    """A file with these RGB pixels."""
    return bytes(cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes())


def run_instead(monkeypatch: pytest.MonkeyPatch, program: str, times: int) -> list[str]:
    """The first children are this program; every start is noted."""
    started: list[str] = []
    real = subprocess.Popen

    def popen(command: list[str], **more: Any) -> Any:
        started.append(program if len(started) < times else "real")
        return real([sys.executable, "-c", program] if len(started) <= times else command, **more)

    monkeypatch.setattr(decoding.subprocess, "Popen", popen)
    return started


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_the_pixels_are_those_of_decoding_here(decode: DecodingProcess, suffix: str) -> None:
    for size in ((50, 30), (300, 200), (7, 5), (300, 200)):  # the shared memory grows, and smaller pictures fit into it
        data = encoded(picture(*size), suffix)
        np.testing.assert_array_equal(decode(data, "x", LIMITS), decode_picture(data, "x", LIMITS))


def test_what_was_decoded_stays_as_it_is(decode: DecodingProcess) -> None:
    first = decode(encoded(picture()), "x", LIMITS)
    decode(encoded(255 - picture()), "y", LIMITS)
    np.testing.assert_array_equal(first, picture())


def test_a_refused_picture_costs_nothing(decode: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    started = run_instead(monkeypatch, DIES, times=0)
    damaged = bytearray(encoded(picture()))
    damaged[60:-20] = bytes(len(damaged) - 80)
    for data, words in ((bytes(damaged), "cam1.*cannot be decoded"), (b"junk", "cam1.*expected a JPEG"), (b"", "cam1")):
        with pytest.raises(UnreadableImageError, match=words):
            decode(data, "cam1", LIMITS)
    with pytest.raises(UnreadableImageError, match="megapixels"):
        decode(encoded(picture(64, 64)), "x", Limits(max_pixels=64 * 63))
    np.testing.assert_array_equal(decode(encoded(picture()), "x", LIMITS), picture())
    assert started == ["real"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the address space")
def test_a_picture_that_takes_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BYTES_PER_PIXEL", 0)
    monkeypatch.setattr(decoding, "SPARE_BYTES", 32 * 2**20)
    limits = Limits(max_pixels=100_000_000, max_bytes=2**20)
    process = DecodingProcess(limits)
    flat = np.zeros((6000, 6000, 3), np.uint8)  # 108 MB of pixels in 200 kB
    with pytest.raises(UnreadableImageError, match=r"large\.png.*cannot be decoded"):
        process(encoded(flat), "large.png", limits)
    np.testing.assert_array_equal(process(encoded(picture()), "x", limits), picture())
    process.close()


def test_a_child_that_died_by_chance_is_replaced(decode: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    started = run_instead(monkeypatch, DIES, times=1)
    np.testing.assert_array_equal(decode(encoded(picture()), "x", LIMITS), picture())
    assert started == [DIES, "real"]


@pytest.mark.parametrize(("program", "words"), [(DIES, "status -6"), (HANGS, "no answer"), (LIES, "nonsense")])
def test_a_picture_that_children_die_of_is_unreadable_and_the_next_is_not(
    decode: DecodingProcess, monkeypatch: pytest.MonkeyPatch, program: str, words: str
) -> None:
    monkeypatch.setattr(decoding, "ANSWER_S", 1.0 if program == HANGS else 60.0)
    started = run_instead(monkeypatch, program, times=2)
    with pytest.raises(UnreadableImageError, match=rf"cam1/7.*died of it 2 times.*{words}"):
        decode(encoded(picture()), "cam1/7", LIMITS)
    monkeypatch.setattr(decoding, "ANSWER_S", 60.0)
    np.testing.assert_array_equal(decode(encoded(picture()), "x", LIMITS), picture())
    assert started == [program, program, "real"]
