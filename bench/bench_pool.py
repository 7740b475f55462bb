"""A pool that does not fit into memory: scored and ordered from shards on disk.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_pool [--frames 1000000]

Eight cameras, 17 points, float32 points and confidences in shards of 25,000 frames, sequences of 10,000 frames that do not end
where shards do.  Scored in runs of 2,000 frames with the context that the scores ask for; the scalars and root-centred poses go
back to disk, from where a window of 500 is ordered (percentile fusion, diverse order with uncertainty).  Scoring and ordering
share one process, whose peak memory is that printed.  Needs about 1.9 kB of disk per frame, freed at the end.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.bench_triangulation import ring
from bench.measure import alone, peak_mib
from label_config.values import BadInputError, FloatArray, IntArray
from label_config.values.prediction import Prediction
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.feature_spaces import FeatureSet, Rows
from ml_backend.acquisition.features import pose3d_features
from ml_backend.acquisition.fusion import Component, fuse
from ml_backend.acquisition.large_pools import ShardedRows
from ml_backend.acquisition.order_window import Params
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.score import Chunk
from ml_backend.acquisition.score_registry import make_scores
from ml_backend.acquisition.selection import select
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust

VIEWS, KEYPOINTS = 8, 17
SHARD, SEQUENCE, RUN = 25_000, 10_000, 2_000
WEIGHTS = {"mc": 2.0, "outlier_ratio": 3.0, "max_error": 1.0, "jitter_3d": 1.0, "tpc": 1.0, "least_confidence": 0.5}
BYTES_PER_FRAME = 4 * (VIEWS * KEYPOINTS * 3 + KEYPOINTS * 3) + 8 * len(WEIGHTS)
LIMIT_MIB = 2048
SUBSET, SUBSET_SHARD = 20_000, 3_000
SKELETON = Skeleton("body", tuple(f"point {k}" for k in range(KEYPOINTS)))


class StageClock:
    """Seconds by stage: on the wall and of the processor."""

    def __init__(self) -> None:
        self.seconds: dict[str, FloatArray] = {}
        self._last = self._now()

    @staticmethod
    def _now() -> FloatArray:
        return np.array((time.perf_counter(), time.process_time()))

    def lap(self, stage: str) -> None:
        now = self._now()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def write_points(folder: Path, frames: int, shard: int) -> None:
    """Bodies that wander and wave, seen with 2 px of noise, 8 % of the points anywhere, 2 % missing."""
    rig = ring(VIEWS)
    body = np.random.default_rng(0).normal(size=(KEYPOINTS, 3)) * 250
    for number, start in enumerate(range(0, frames, shard)):
        rng = np.random.default_rng(number + 1)
        time_s = np.arange(start, min(start + shard, frames)) / 50.0
        phase = np.arange(KEYPOINTS)[:, None] + np.arange(3)
        wave = np.sin(0.7 * time_s[:, None, None] * (1 + phase % 5) + phase) * 60
        path = 400 * np.stack((np.sin(0.05 * time_s), np.cos(0.031 * time_s), 0.3 * np.sin(0.2 * time_s)), axis=-1)
        xy = rig.project(body + wave + path[:, None]).astype(np.float32)
        xy += 2 * rng.standard_normal(xy.shape, dtype=np.float32)
        luck = rng.random(xy.shape[:-1], dtype=np.float32)
        wild = luck < 0.08
        xy[wild] = rng.random((int(wild.sum()), 2), dtype=np.float32) * np.array((1920, 1080), dtype=np.float32)
        xy[luck > 0.98] = np.nan
        confidence = np.clip(rng.random(luck.shape, dtype=np.float32) + 0.5 * ~wild, 0, 1).astype(np.float32)
        confidence[luck > 0.98] = np.nan
        np.save(folder / f"xy-{number:05d}.npy", xy)
        np.save(folder / f"confidence-{number:05d}.npy", confidence)


def runs(frames: int, length: int, halo: int) -> Iterator[tuple[int, slice, slice]]:
    """Sequence number, rows to read and which of them are to be scored."""
    for first in range(0, frames, SEQUENCE):
        last = min(first + SEQUENCE, frames)
        for start in range(first, last, length):
            stop = min(start + length, last)
            low, high = max(start - halo, first), min(stop + halo, last)
            yield first // SEQUENCE, slice(low, high), slice(start - low, stop - low)


def score_run(
    rig: Rig, names: list[str], xy: Rows, confidence: Rows, sequence: int, rows: slice, core: slice, clock: StageClock
) -> tuple[dict[str, FloatArray], Any]:
    """Every score of the core frames, and their poses as features (c, K, 3) float32."""
    positions = np.arange(rows.start, rows.stop)
    points, trust = xy[positions].astype(np.float64), confidence[positions].astype(np.float64)
    clock.lap("reading points")
    found = triangulate_robust(rig, points)
    clock.lap("robust triangulation")
    prediction = Prediction(points, trust, np.full((*points.shape[:2], 4), np.nan))
    chunk = Chunk(f"s{sequence:05d}", positions - sequence * SEQUENCE, core, prediction, rig.size_px, triangulated=found, rig=rig)
    scores = {}
    for score in make_scores(names):
        scores[score.name] = score.score(chunk, None).raw
        clock.lap(score.name)
    return scores, pose3d_features(found.xyz_world[core], SKELETON).astype(np.float32)


def score_pool(folder: Path, frames: int, clock: StageClock) -> None:
    """Scores and features of the whole pool, one file of each per run."""
    rig, names = ring(VIEWS), list(WEIGHTS)
    halo = max(score.halo for score in make_scores(names))
    xy, confidence = (ShardedRows.open(sorted(folder.glob(f"{what}-*.npy"))) for what in ("xy", "confidence"))
    for number, (sequence, rows, core) in enumerate(runs(frames, RUN, halo)):
        scores, poses = score_run(rig, names, xy, confidence, sequence, rows, core, clock)
        np.save(folder / f"scores-{number:05d}.npy", np.stack([scores[name] for name in names]))
        np.save(folder / f"poses-{number:05d}.npy", poses)
        clock.lap("writing scores and poses")


def order(columns: dict[str, FloatArray], poses: Rows, frames: int, clock: StageClock) -> IntArray:
    """Positions of the window, first to be labelled first."""
    fused = fuse([Component(name, columns[name], WEIGHTS[name]) for name in WEIGHTS], frames)
    clock.lap("percentiles and fusion")
    position = np.arange(frames)
    pool = Pool(tuple(f"s{i:05d}" for i in range(-(-frames // SEQUENCE))), position // SEQUENCE, position % SEQUENCE)
    features = FeatureSet(poses, "mean_joint", name="pose3d_root", unit="mm")
    selection = select(pool, fused, Params(window=500, batch=500, performance=0.5), features=features)
    clock.lap("shortlist and diverse order of 500")
    return np.array([pick.position for pick in selection.picks])


def from_shards(folder: Path, frames: int, clock: StageClock) -> IntArray:
    """Score the pool on disk and order it."""
    score_pool(folder, frames, clock)
    paths = sorted(folder.glob("scores-*.npy"))
    columns = {name: _column(paths, i) for i, name in enumerate(WEIGHTS)}
    clock.lap("reading scores")
    return order(columns, ShardedRows.open(sorted(folder.glob("poses-*.npy"))), frames, clock)


def _column(paths: list[Path], row: int) -> FloatArray:
    return np.concatenate([np.load(path, mmap_mode="r")[row] for path in paths], dtype=np.float64)


def in_memory(folder: Path, frames: int) -> IntArray:
    """The same pool as arrays, every sequence scored in one run."""
    xy, confidence = (np.concatenate([np.load(p) for p in sorted(folder.glob(f"{w}-*.npy"))]) for w in ("xy", "confidence"))
    rig, names, clock = ring(VIEWS), list(WEIGHTS), StageClock()
    parts = [score_run(rig, names, xy, confidence, *run, clock) for run in runs(frames, SEQUENCE, 0)]
    columns = {name: np.concatenate([scores[name] for scores, _ in parts]) for name in names}
    return order(columns, np.concatenate([poses for _, poses in parts]), frames, clock)


def bench_pool(folder: Path, frames: int) -> None:
    """Time of each stage and peak memory."""
    clock = StageClock()
    picked = from_shards(folder, frames, clock)
    if len(set(picked.tolist())) != min(500, frames):
        raise SystemExit(f"expected an order of {min(500, frames)} different frames, got {len(set(picked.tolist()))}")
    table = {**clock.seconds, "all of it": np.sum(list(clock.seconds.values()), axis=0)}
    for stage, (wall, cpu) in table.items():
        print(f"  {stage:<40} {wall:9.2f} s  {cpu:9.2f} s CPU  {1e6 * cpu / frames:8.2f} us CPU/frame")
    peak = peak_mib()
    print(f"  peak RSS {peak:.0f} MiB (limit {LIMIT_MIB})", flush=True)
    if peak > LIMIT_MIB:
        raise SystemExit(f"peak RSS above the limit of {LIMIT_MIB} MiB")


def check_order(folder: Path, frames: int) -> None:
    """The order from shards against that in memory."""
    if not np.array_equal(from_shards(folder, frames, StageClock()), in_memory(folder, frames)):
        raise SystemExit(f"the order of {frames} frames from shards differs from that in memory")
    print(f"  order of {frames} frames from shards of {SUBSET_SHARD} equals that in memory", flush=True)


def main() -> None:
    """Write, score, order, compare, delete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=50_000, help="size of the pool")
    frames = parser.parse_args().frames
    root = Path(__file__).parents[1] / ".bench"
    root.mkdir(exist_ok=True)
    free, need = shutil.disk_usage(root).free, 1.2 * frames * BYTES_PER_FRAME
    if free < need:
        raise BadInputError(
            f"pool of {frames} frames: {need / 2**30:.1f} GiB of disk needed under {root}, {free / 2**30:.1f} free"
        )
    for size, shard, job in ((frames, SHARD, bench_pool), (min(frames, SUBSET), SUBSET_SHARD, check_order)):
        with tempfile.TemporaryDirectory(dir=root) as name:
            folder = Path(name)
            start = time.perf_counter()
            alone(write_points, folder, size, shard)
            took, written = time.perf_counter() - start, sum(path.stat().st_size for path in folder.iterdir())
            print(
                f"{size} frames x {VIEWS} views x {KEYPOINTS} points, {written / 2**20:.0f} MiB, made in {took:.0f} s", flush=True
            )
            alone(job, folder, size)


if __name__ == "__main__":
    main()
