"""What the benchmarks share: timing in turn, peak memory, a process of one's own.

Work of one thread is timed in seconds of the processor, which another program on the same machine cannot lengthen by taking
its turn (it can by emptying the caches); what uses several threads is timed on the wall.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from label_config.values import FloatArray

REPEATS = 5


@dataclass(frozen=True)
class BenchEntry:
    """One line of a table; ``scale`` extrapolates a call that does only part of the work."""

    name: str
    call: Callable[[], object]
    scale: float = 1.0
    note: str = ""


def in_turn(
    calls: Sequence[Callable[[], object]], repeats: int = REPEATS, clock: Callable[[], float] = time.process_time
) -> FloatArray:
    """(repeats, calls) seconds.

    In turn, because whatever else the machine does then slows all of them alike; compare medians over the turns.
    """
    seconds = np.empty((repeats, len(calls)))
    for turn in range(repeats):
        for place, call in enumerate(calls):
            start = clock()
            call()
            seconds[turn, place] = clock() - start
    return seconds


def race(entries: Sequence[BenchEntry]) -> None:
    """Time all entries in turn and print them beside the second, which is ours; the factor is the median over the turns."""
    seconds = in_turn([entry.call for entry in entries]) * [entry.scale for entry in entries]
    factor = np.median(seconds / seconds[:, 1:2], axis=0)
    for entry, column, times in zip(entries, seconds.T, factor, strict=True):
        report(entry.name, column, f"{times:6.2f} x ours  {entry.note}")


def report(name: str, seconds: FloatArray, note: str = "") -> None:
    """One line of a table."""
    print(f"  {name:<46} {np.median(seconds):8.3f} s CPU (min {seconds.min():.3f})  {note}", flush=True)


def peak_mib() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(call: Callable[..., None], *arguments: object) -> None:
    """Run in a fresh process, so that its peak memory is its own."""
    process = multiprocessing.get_context("spawn").Process(target=call, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"benchmark process ended with {process.exitcode}")
