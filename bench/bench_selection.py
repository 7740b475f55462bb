"""Selection: exact k-center and fusion of scores.  (From shards on disk: ``bench_pool``.)

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_selection

Every table runs in a process of its own, so that its peak memory is its own.  Medians (and minima) of five turns in one
process, CPU time of one thread.  The reference libraries time fewer picks, which is stated, and are scaled: their time per
pick is constant.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import rankdata

from bench.measure import BenchEntry, alone, peak_mib, race
from label_config.values import Float32Array, FloatArray
from ml_backend.acquisition.feature_spaces import Metric, make_space
from ml_backend.acquisition.fusion import Component, fuse
from ml_backend.acquisition.kcenter import Balance, Coverage, greedy, k_center

FRAMES, PICKS, JOINTS = 50_000, 1000, 15
REFERENCE_PICKS = 50


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
        BenchEntry("bound: 1,000 matrix-vector products alone", lambda: [x @ x[i] for i in range(PICKS)]),
        BenchEntry("k_center, L2", lambda: k_center(make_space("l2", x), PICKS)),
        BenchEntry("DUW, L2", lambda: duw("l2", x, uncertainty)),
        BenchEntry("k_center, mean-joint", lambda: k_center(make_space("mean_joint", poses), PICKS)),
        BenchEntry("k_center, mean-joint, 10 % missing", lambda: k_center(make_space("mean_joint", gaps), PICKS)),
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
        entries.append(BenchEntry(name, partial(call, x, REFERENCE_PICKS), PICKS / REFERENCE_PICKS, note))
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
            BenchEntry("bound: 8 sorts of the finite values alone", lambda: [np.argsort(row) for row in finite]),
            BenchEntry("fuse", lambda: fuse(components, n)),
            BenchEntry("scipy.stats.rankdata of each, not fused", lambda: [rankdata(row) for row in finite]),
        ]
    )


def main() -> None:
    """Print the tables."""
    alone(bench_k_center)
    alone(bench_fusion)


if __name__ == "__main__":
    main()
