"""Selection: exact k-center, fusion of scores, and the order of a pool that does not fit into memory.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_selection [--frames 1000000]

Every table runs in a process of its own, so that its peak memory is its own.  Medians (and minima) of five turns in one
process.  The reference libraries time fewer picks, which is stated, and are scaled: their time per pick is constant.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from label_config.values import Float32Array, FloatArray, IntArray
from ml_backend.acquisition.fusion import Component, fuse
from ml_backend.acquisition.kcenter import Balance, Coverage, greedy, k_center
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.selection import select
from ml_backend.acquisition.spaces import FeatureSet, Metric, make_space
from ml_backend.acquisition.stream import ShardedRows, read_column
from ml_backend.acquisition.window import Params

FRAMES, PICKS, JOINTS = 50_000, 1000, 15
REFERENCE_PICKS = 50
REPEATS = 5


@dataclass(frozen=True)
class Entry:
    """One line of a table; ``scale`` extrapolates a call that does only part of the work."""

    name: str
    call: Callable[[], object]
    scale: float = 1.0
    note: str = ""


def race(entries: Sequence[Entry]) -> None:
    """Time all entries in turn, several times, and print them beside the second, which is ours.

    In turn, because whatever else the machine does then slows all of them alike; the factor is the median over the turns.
    """
    seconds = np.empty((REPEATS, len(entries)))
    for turn in range(REPEATS):
        for place, entry in enumerate(entries):
            start = time.perf_counter()
            entry.call()
            seconds[turn, place] = (time.perf_counter() - start) * entry.scale
    factor = np.median(seconds / seconds[:, 1:2], axis=0)
    for entry, column, times in zip(entries, seconds.T, factor, strict=True):
        report(entry.name, column, f"{times:6.2f} x ours  {entry.note}")


def report(name: str, seconds: FloatArray, note: str = "") -> None:
    """One line of a table."""
    print(f"  {name:<46} {np.median(seconds):8.3f} s (min {seconds.min():.3f})  {note}", flush=True)


def peak_mib() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plain_numpy(x: Float32Array, count: int) -> list[int]:
    """The usual greedy loop: differences to the new centre, their norms, the farthest."""
    chosen = [0]
    distance = np.full(len(x), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(x - x[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return chosen


def library(x: Float32Array, count: int) -> list[int]:
    """scikit-activeml, started from the same first frame."""
    core_set: Any = importlib.import_module("skactiveml.pool").CoreSet
    labels = np.full(len(x), np.nan)
    labels[0] = 0
    return [0, *map(int, core_set(random_state=0, missing_label=np.nan).query(x, labels, batch_size=count - 1))]


def bench_k_center() -> None:
    """50,000 frames of 15 joints, 1,000 picks."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(FRAMES, JOINTS * 3)).astype(np.float32)
    poses = x.reshape(FRAMES, JOINTS, 3)
    gaps = np.where(rng.random((FRAMES, JOINTS, 1)) < 0.1, np.nan, poses).astype(np.float32)
    uncertainty = rng.random(FRAMES)
    print(f"k-center: {FRAMES} frames x {x.shape[1]}, {PICKS} picks, {x.nbytes / 2**20:.0f} MiB")
    entries = [
        Entry("bound: 1,000 matrix-vector products alone", lambda: [x @ x[i] for i in range(PICKS)]),
        Entry("k_center, L2", lambda: k_center(make_space("l2", x), PICKS)),
        Entry("DUW, L2", lambda: duw("l2", x, uncertainty)),
        Entry("k_center, mean-joint", lambda: k_center(make_space("mean_joint", poses), PICKS)),
        Entry("k_center, mean-joint, 10 % missing", lambda: k_center(make_space("mean_joint", gaps), PICKS)),
    ]
    same = k_center(make_space("l2", x), REFERENCE_PICKS).tolist()
    print(f"  peak RSS of our own {peak_mib():.0f} MiB")
    references: dict[str, Callable[[Float32Array, int], list[int]]] = {"plain NumPy loop": plain_numpy}
    if importlib.util.find_spec("skactiveml") is None:
        print("  scikit-activeml is not installed (pip install scikit-activeml)")
    else:
        references["scikit-activeml CoreSet"] = library
    for name, call in references.items():
        note = f"from {REFERENCE_PICKS} picks, {'same picks' if call(x, REFERENCE_PICKS) == same else 'OTHER PICKS'}"
        entries.append(Entry(name, partial(call, x, REFERENCE_PICKS), PICKS / REFERENCE_PICKS, note))
    race(entries)


def duw(metric: Metric, x: Float32Array, uncertainty: FloatArray) -> object:
    """1,000 picks that weigh distance and uncertainty."""
    everyone = np.ones(len(x), dtype=np.bool_)
    return greedy(Coverage(make_space(metric, x)), PICKS, everyone, uncertainty=uncertainty, balance=Balance(0.5))


def bench_fusion() -> None:
    """100,000 frames with 8 scores."""
    n = 100_000
    rng = np.random.default_rng(1)
    raw = np.where(rng.random((8, n)) < 0.9, rng.normal(size=(8, n)), np.nan)
    components = [Component(f"score {i}", row, weight=1.0 + i) for i, row in enumerate(raw)]
    finite = [row[np.isfinite(row)] for row in raw]
    print(f"fusion: {n} frames x {len(components)} scores, a tenth missing")
    fuse(components, n)
    print(f"  peak RSS {peak_mib():.0f} MiB")
    race(
        [
            Entry("bound: 8 sorts of the finite values alone", lambda: [np.argsort(row) for row in finite]),
            Entry("fuse", lambda: fuse(components, n)),
            Entry("scipy.stats.rankdata of each, not fused", lambda: [rankdata(row) for row in finite]),
        ]
    )


def write_shards(folder: Path, frames: int, shard: int = 50_000, scores: int = 10, dimensions: int = 64) -> None:
    """A pool on disk: one file of features and one of scores for each shard."""
    for number, start in enumerate(range(0, frames, shard)):
        rng = np.random.default_rng(number)
        size = min(shard, frames - start)
        np.save(folder / f"features-{number:04d}.npy", rng.normal(size=(size, dimensions)).astype(np.float32))
        np.save(folder / f"scores-{number:04d}.npy", rng.normal(size=(scores, size)))


def order_shards(folder: Path, frames: int, *, in_memory: bool = False, verbose: bool = False) -> IntArray:
    """Positions of the window of a pool in shards."""
    clock = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal clock
        if verbose:
            report(stage, np.array([time.perf_counter() - clock]))
        clock = time.perf_counter()

    features, scores = sorted(folder.glob("features-*")), sorted(folder.glob("scores-*"))
    loaders = [[partial(_score_row, path, row) for path in scores] for row in range(len(np.load(scores[0], mmap_mode="r")))]
    components = [Component(f"score {row}", read_column(column)) for row, column in enumerate(loaders)]
    lap("reading the scores")
    fused = fuse(components, frames)
    lap("percentiles and fusion")
    rows: Any = np.concatenate([np.load(path) for path in features]) if in_memory else ShardedRows.open(features)
    selection = select(_pool(frames), fused, Params(performance=0.5), features=FeatureSet(rows))
    lap("shortlist, features, diverse order of 500")
    return np.array([pick.position for pick in selection.picks])


def _score_row(path: Path, row: int) -> FloatArray:
    return np.array(np.load(path, mmap_mode="r")[row])


def _pool(frames: int, each: int = 2000) -> Pool:
    """Sequences of 2,000 frames."""
    position = np.arange(frames, dtype=np.int64)
    return Pool(tuple(f"s{i:05d}" for i in range(-(-frames // each))), position // each, position % each)


def bench_stream(frames: int) -> None:
    """A pool in shards: time of each stage, peak memory, and the check against the same pool in memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(folder, frames)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        print(f"streaming: {frames} frames x (10 scores + 64 features) in shards, {size:.0f} MiB on disk")
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            order_shards(folder, frames)
            seconds.append(time.perf_counter() - start)
        report("all of it", np.array(seconds))
        order_shards(folder, frames, verbose=True)
        print(f"  peak RSS {peak_mib():.0f} MiB (limit 2048)")
    with tempfile.TemporaryDirectory() as name:
        folder, few = Path(name), min(frames, 20_000)
        write_shards(folder, few, shard=3000)
        equal = (order_shards(folder, few) == order_shards(folder, few, in_memory=True)).all()
        print(f"  order of {few} frames from shards {'equals' if equal else 'DIFFERS FROM'} that in memory")


def alone(call: Callable[..., None], *arguments: object) -> None:
    """Run in a fresh process."""
    process = multiprocessing.get_context("spawn").Process(target=call, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=1_000_000, help="size of the pool in shards")
    arguments = parser.parse_args()
    alone(bench_k_center)
    alone(bench_fusion)
    alone(bench_stream, arguments.frames)


if __name__ == "__main__":
    main()
