"""Decoding in a child process: the same pixels, and nothing that a picture does reaches this process."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from label_config.values import ByteArray
from ml_backend.recordings import decoding
from ml_backend.recordings import video_frames as frames
from ml_backend.recordings.decoding import DecodingProcess
from ml_backend.recordings.picture_errors import UnreadableImageError
from ml_backend.recordings.pictures import DEFAULT_LIMITS, Limits, decode_picture
from ml_backend.recordings.sources import probe
from ml_backend.recordings.stacks import read_stack
from ml_backend.recordings.videos import read_video

LIMITS = Limits(max_pixels=4_000_000)
#: Programs that do not answer as they should.  The head of a request is 16 bytes.
DIES = "import os, sys; sys.stdin.buffer.read(16); os.abort()"
HANGS = "import time; time.sleep(600)"
LIES = """import sys; sys.stdin.buffer.read(16); print('{"shape": [9999, 9999, 3], "offset": 0}')"""
BABBLES = "import sys; sys.stdin.buffer.read(16); print('hello')"


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

    monkeypatch.setattr(subprocess, "Popen", popen)
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


@pytest.mark.parametrize(
    ("program", "words"),
    [(DIES, "status -6"), (HANGS, "no answer"), (LIES, "nonsense"), (BABBLES, "nonsense")],
    ids=["dies", "hangs", "lies", "babbles"],
)
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


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Children run these lines first; ``frames`` is the module that reads videos, ``pixels`` that of pages."""

    def patch(lines: str) -> None:
        (tmp_path / "patch_of_this_test.py").write_text(
            "import os, signal\nfrom ml_backend.recordings import decoding_child, pixels, video_frames as frames\n" + lines
        )
        real = subprocess.Popen

        def popen(command: list[str], **more: Any) -> Any:
            program = f"import sys; sys.path[:] = {[*sys.path, str(tmp_path)]!r}; import patch_of_this_test; {command[-1]}"
            return real([*command[:-1], program], **more)

        monkeypatch.setattr(subprocess, "Popen", popen)

    decoding.decoding_process(DEFAULT_LIMITS).close()
    yield patch
    decoding.decoding_process(DEFAULT_LIMITS).close()


#: The decoder dies of some frames.
KILLER = """
real = frames._upright
def upright(frame, to_rgb):
    number = frame.pts // 512  # 30 frames a second in ticks of 1 / 15360 s
    if number in {numbers}:
        os.kill(os.getpid(), signal.SIGSEGV)
    return real(frame, to_rgb)
frames._upright = upright
"""


def test_a_frame_that_the_decoder_dies_of_is_that_frames_error(
    make: SimpleNamespace, dying: Callable[[str], None], tmp_path: Path
) -> None:
    video = str(make.encoded(tmp_path / "a.mp4", "libx264", 40))
    dying(KILLER.replace("{numbers}", "{7, 21}"))
    found = dict(read_video(video, range(40)))
    assert [i for i, picture in found.items() if isinstance(picture, UnreadableImageError)] == [7, 21]
    assert re.search(r"a\.mp4, frame 7: .*the decoder died of it \(status -11\)", str(found[7]))
    assert [make.number(found[i]) for i in range(40) if i not in (7, 21)] == [i for i in range(40) if i not in (7, 21)]


def test_a_file_that_kills_every_decoder_is_given_up_and_the_next_is_read(
    make: SimpleNamespace, dying: Callable[[str], None], tmp_path: Path
) -> None:
    dying(KILLER.replace("{numbers}", "range(1, 100)"))
    found = dict(read_video(str(make.encoded(tmp_path / "a.mp4", "libx264", 40)), range(40)))
    assert [i for i, picture in found.items() if isinstance(picture, UnreadableImageError)] == list(range(1, 40))
    ((_, whole),) = read_video(str(make.encoded(tmp_path / "b.mp4", "libx264", 1)), [0])
    assert make.number(whole) == 0


def test_a_video_whose_header_kills_the_decoder_is_refused(
    make: SimpleNamespace, dying: Callable[[str], None], tmp_path: Path
) -> None:
    video = make.encoded(tmp_path / "a.mp4", "libx264", 3)
    dying("decoding_child.containers.look = decoding_child.first_frame = lambda *_: os.abort()\n")
    with pytest.raises(UnreadableImageError, match=r"a\.mp4: cannot be decoded: the decoder died of it 2 times \(status -6\)"):
        probe(video)


def test_work_without_progress_ends_after_some_time_of_work(
    make: SimpleNamespace, dying: Callable[[str], None], tmp_path: Path
) -> None:
    video = make.encoded(tmp_path / "a.mp4", "libx264", 3)
    dying("def spin(*_):\n    while True: pass\ndecoding_child.CPU_S, decoding_child.first_frame = 0.2, spin\n")
    with pytest.raises(UnreadableImageError, match=r"not done after its time of work"):
        probe(video)


def test_a_page_that_the_decoder_dies_of_is_that_pages_error(dying: Callable[[str], None], tmp_path: Path) -> None:
    path = str(tmp_path / "a.tif")
    cv2.imwritemulti(path, [picture(), picture(), picture()])
    dying("decoding_child.decode_page = lambda path, place: os.abort() if place == 1 else pixels.decode_page(path, place)\n")
    found = dict(read_stack(path, range(3)))
    assert [i for i, page in found.items() if isinstance(page, UnreadableImageError)] == [1]


def test_videos_that_are_read_at_the_same_time(make: SimpleNamespace, tmp_path: Path) -> None:
    videos = [str(make.encoded(tmp_path / f"{name}.mp4", "libx264", 20)) for name in "abc"]
    for one, *others in zip(*(read_video(video, range(20)) for video in videos), strict=True):
        assert {make.number(picture) for _, picture in (one, *others)} == {one[0]}


def test_who_stops_reading_leaves_nothing_behind(make: SimpleNamespace, tmp_path: Path) -> None:
    video = str(make.encoded(tmp_path / "a.mp4", "libx264", 40))
    for index in (0, 30):
        frames = read_video(video, range(index, 40))
        assert make.number(next(frames)[1]) == index
        assert isinstance(frames, Generator)
        frames.close()


def test_threads_do_not_pile_up(make: SimpleNamespace, tmp_path: Path) -> None:
    video = str(make.encoded(tmp_path / "a.mp4", "libx264", 40))
    gc.disable()
    before = threads()
    pictures = [picture for _, picture in frames.read_video(video, range(40))]
    after = threads()
    gc.enable()
    assert len(pictures) == 40
    assert after - before <= 4


def threads() -> int:
    return int(psutil.Process().num_threads())


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the environment of another process is read from /proc")
def test_the_child_knows_no_secrets(decode: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "hush-hush")
    decode.close()
    decode(encoded(picture()), "x", LIMITS)
    (child,) = decode._idle
    held = Path(f"/proc/{child._process.pid}/environ").read_bytes()
    assert b"OMP_NUM_THREADS=1" in held
    assert b"hush" not in held


def test_a_picture_of_three_hundred_scans_costs_one_child_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A progressive JPEG repeats its scans as often as it likes, and each goes over the whole picture again."""
    started: list[int] = []
    make = decoding._Child.__init__

    def counted(self: Any, allowance: int) -> None:
        started.append(allowance)
        make(self, allowance)

    monkeypatch.setattr(decoding._Child, "__init__", counted)
    grey = np.full((6000, 8000, 3), 127, dtype=np.uint8)
    grey[::64, ::64] = 255
    data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scan = data[data.rindex(b"\xff\xda") : -2]
    process = decoding.DecodingProcess(DEFAULT_LIMITS)
    try:
        with pytest.raises(UnreadableImageError, match="not done after its time of work"):
            process(data[:-2] + 300 * scan + data[-2:], "scans.jpg", DEFAULT_LIMITS)
    finally:
        process.close()
    assert len(started) == 1
