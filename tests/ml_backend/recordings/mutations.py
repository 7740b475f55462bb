"""A program that damages a file at random and reads it, again and again; run by ``test_mutated_inputs``.

Arguments: the file, the first seed, how many.  It may grow by 2 GB.  A line for each input that gave anything but values or
ParallaxErrors, or took longer than 10 s; at the end ``done`` and how many inputs were refused.
"""

import mmap
import random
import resource
import sys
import time
from pathlib import Path

from label_config.values import ParallaxError
from ml_backend.recordings.errors import UnreadableImageError
from ml_backend.recordings.sources import probe
from ml_backend.recordings.stacks import is_stack, read_stack
from ml_backend.recordings.videos import read_video

MAY_GROW_BYTES = 2 * 2**30
LONGEST_S = 10.0
EXTREMES = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1", b"\1\0\0\0"]


def mutated(data: bytes, draw: random.Random) -> bytes:
    """A few changes of bytes, numbers, order or length, mostly near the start, where headers are."""
    found = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        end = len(found) if draw.random() < 0.5 else min(len(found), 800)
        at, length = draw.randrange(max(end, 1)), draw.choice([1, 4, 64, 1000])
        match draw.choice(["bits", "bytes", "number", "cut", "remove", "double", "zero"]):
            case "bits":
                found[at] ^= 1 << draw.randrange(8)
            case "bytes":
                found[at : at + length] = draw.randbytes(len(found[at : at + length]))
            case "number":
                found[at : at + 4] = draw.choice(EXTREMES)
            case "cut":
                del found[max(at, 1) :]
            case "remove":
                del found[at : at + length]
            case "double":
                found[at:at] = found[at : at + length]
            case _:
                found[at : at + length] = bytes(len(found[at : at + length]))
        found = found or bytearray(b"\0")
    return bytes(found)


def read(path: Path) -> bool:
    """Look into a source and read a few of its frames; True when something was refused."""
    refused = False
    try:
        info = probe(path)
        frames = [i for i in (0, 1, info.n_frames // 2, info.n_frames - 1) if 0 <= i < info.n_frames]
        if info.pictures is None:
            reader = read_stack if is_stack(str(path)) else read_video
            for _, picture in reader(str(path), sorted(set(frames))):
                refused |= isinstance(picture, UnreadableImageError)
    except ParallaxError:
        refused = True
    return refused


def main() -> None:
    base, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * mmap.PAGESIZE + MAY_GROW_BYTES,) * 2)
    data, target, refused = base.read_bytes(), base.with_name(f"mutated{base.suffix}"), 0
    for seed in range(first, first + count):
        target.write_bytes(mutated(data, random.Random(seed)))
        base.with_name("seed").write_text(str(seed))
        start = time.monotonic()
        try:
            refused += read(target)
        except Exception as error:  # whatever it is, it is what the test is about
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
        if time.monotonic() - start > LONGEST_S:
            print(f"seed {seed}: took {time.monotonic() - start:.1f} s", flush=True)
    print(f"done {refused}", flush=True)


if __name__ == "__main__":
    main()
