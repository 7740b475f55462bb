"""Files damaged at random, thousands per reader: a value or a ParallaxError, never anything else.

    python -m tests.campaign MODULE:FUNCTION[:ARGUMENT] [--count 10000] [--start SEED]

The function gets an empty folder (and the argument), writes a small whole file there and returns its path and what reads it.
Many damaged copies are read by one process, under limits of its own on time and memory.  Where it dies, what killed it is noted
and another goes on.  Prints a line for each problem, and one with the figures.
"""

from __future__ import annotations

import argparse
import atexit
import faulthandler
import importlib
import json
import mmap
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import BadInputError, ParallaxError

ROOT = Path(__file__).parents[1]
#: (file to damage, what reads it)
Target = tuple[Path, Callable[[Path], object]]
#: The process may grow by so much, and take so long for one input, on a machine that does much else besides.
MAY_GROW_BYTES, MAY_TAKE_S = 2 * 2**30, 10.0

#: What parsers stumble over: other kinds of values, huge and odd numbers, separators, quotes, and bytes that are no text.
_TEXTS = (
    *("", "null", "NaN", "-1", "1e400", "-1e308", "9" * 400, "inf", "0x1", "1_0", "true", "é", "2026-13-45", "&a *a", "*a"),
    *("[]", "[[", "{}", "}", '""', '"', "'", ",", ";", "\t", "\n", "\r", ": ", "- ", "../", "/", "[" * 2000, "!!python/object"),
    *("<a>", "&lol;", "<!DOCTYPE a>", "\x00", "9" * 30),
)
SPLICES = (*(text.encode() for text in _TEXTS), b"\xff\xfe", b"\xc3")
_EXTREMES = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1", b"\1\0\0\0"]


def damaged_text(data: bytes, draw: random.Random) -> bytes:
    """The same bytes with one to four pieces cut, doubled, or replaced."""
    for _ in range(draw.randint(1, 4)):
        a = draw.randrange(len(data) + 1)
        b = min(len(data), a + draw.choice([0, 1, 2, 8, 40, 400]))
        piece = draw.choice([b"", data[a:b] * 2, draw.choice(SPLICES), draw.choice(SPLICES), draw.randbytes(b - a)])
        data = data[:a] + piece + data[b:]
    return data


def damaged_binary(data: bytes, draw: random.Random) -> bytes:
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
                found[at : at + 4] = draw.choice(_EXTREMES)
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


def damager(whole: bytes) -> Callable[[bytes, random.Random], bytes]:
    """Text is damaged as text."""
    try:
        whole.decode()
    except UnicodeDecodeError:
        return damaged_binary
    return damaged_binary if b"\0" in whole else damaged_text


@dataclass(frozen=True)
class Outcome:
    """What came of a campaign.

    deaths     what the process died of: crashes, and inputs that took too long
    problems   exceptions that are no ParallaxErrors
    grew_mib   the most that the process grew by, or one that it started
    """

    inputs: int
    refused: int
    deaths: tuple[str, ...]
    problems: tuple[str, ...]
    longest_s: float
    grew_mib: float


def campaign(target: str, folder: Path, count: int, first: int = 0) -> Outcome:
    """Read so many damaged files; each seed is another one."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENCV_LOG_LEVEL": "OFF"}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    deaths: list[str] = []
    problems: list[str] = []
    refused, longest_s, grew_mib, start, end = 0, 0.0, 0.0, first, first + count
    while start < end:
        command = [sys.executable, "-W", "ignore", "-m", "tests.campaign", target]
        command += ["--inside", str(folder), "--start", str(start), "--count", str(end - start)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, cwd=ROOT, check=False)
        state_file = folder / "state.json"
        assert state_file.exists(), f"{target} did not begin: {done.stderr[-2000:]}"
        state = json.loads(state_file.read_text())
        refused += state["refused"]
        problems += state["problems"]
        longest_s, grew_mib = max(longest_s, state["longest_s"]), max(grew_mib, state["grew_mib"])
        if not state["done"]:
            deaths.append(f"seed {state['seed']}: status {done.returncode} {done.stderr[-1500:]}")
        state_file.unlink()
        start = state["seed"] + 1
    return Outcome(count, refused, tuple(deaths), tuple(problems), longest_s, grew_mib)


def read_here(function: str, path: Path, **_: Any) -> dict[str, Any]:
    """What ``limited_child.read_limited`` gives, without a process for each file: the campaign's own is one that may die."""
    module, name = function.split(":")
    try:
        value = getattr(importlib.import_module(module), name)(path)
        json.dumps({key: item for key, item in value.items() if not isinstance(item, np.ndarray)})
    except Exception as error:  # any: the child turns them into words
        raise BadInputError(f"{path}: {error}") from error
    return dict(value)


def _inside(target: str, folder: Path, first: int, count: int) -> None:
    """The process that reads: keeps ``state.json``, from which the next one goes on."""
    module, name, *arguments = target.split(":")
    work = Path(tempfile.mkdtemp(dir=folder))
    path, read = getattr(importlib.import_module(module), name)(work, *arguments)
    whole = path.read_bytes()
    damage = damager(whole)
    read(path)  # whole, it is read
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * mmap.PAGESIZE + MAY_GROW_BYTES,) * 2)
    state: dict[str, Any] = {"seed": first, "refused": 0, "problems": [], "longest_s": 0.0, "grew_mib": 0.0, "done": False}
    for seed in range(first, first + count):
        state["seed"] = seed
        (folder / "state.json").write_text(json.dumps(state))
        path.write_bytes(damage(whole, random.Random(f"{target} {seed}")))
        faulthandler.dump_traceback_later(MAY_TAKE_S, exit=True)
        start = time.monotonic()
        try:
            read(path)
        except ParallaxError:
            state["refused"] += 1
        except Exception as error:  # whatever it is, it is what the campaign is about
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
            state["problems"].append(f"seed {seed}: {where} {type(error).__name__}: {str(error)[:300]}")
        faulthandler.cancel_dump_traceback_later()
        state["longest_s"] = max(state["longest_s"], time.monotonic() - start)
        state["grew_mib"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    (folder / "state.json").write_text(json.dumps({**state, "done": True}))


def _count_children(folder: Path) -> None:
    """At the very end, when processes that were started have ended."""
    path = folder / "state.json"
    if path.exists():
        state = json.loads(path.read_text())
        of_children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        path.write_text(json.dumps({**state, "grew_mib": max(state["grew_mib"], of_children)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        atexit.register(_count_children, options.inside)
        _inside(options.target, options.inside, options.start, options.count)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(options.target, Path(folder), options.count, options.start)
    for line in (*found.problems, *found.deaths):
        print(line)
    print(
        f"{options.target}: {found.inputs} inputs, {found.refused} refused, {len(found.problems)} problems, {len(found.deaths)} "
        f"deaths, longest {found.longest_s:.2f} s, grew by {found.grew_mib:.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
