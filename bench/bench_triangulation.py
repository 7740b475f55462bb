"""Triangulation: time per point and error on identical points, against vectorised NumPy and aniposelib.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_triangulation [--with-aniposelib]

Cameras on a ring of 3 m, 17 keypoints, 2 px of noise, 15 % of all observations anywhere in the picture, threshold 12 px.
Medians of five turns in one process: CPU time, with two threads wall time; the factor is the median over the turns.  A failure
is a point that is missing or more than 50 mm off.  The NumPy versions give points alone; ours also exact residuals, inliers,
angles and covariances.

``--with-aniposelib`` makes a virtual environment under .bench (1.1 GB) and times aniposelib there, because it brings another
OpenCV with it.  Its RANSAC tries all 2^V subsets of the views, so it gets few points and is not run above eight views.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import tempfile
import time
import tracemalloc
import venv
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from bench.measure import REPEATS, in_turn, peak_mib
from label_config.values import FloatArray
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.geometry.normalised import NormalisedRig, solve
from ml_backend.geometry.triangulation import triangulate_linear, triangulate_robust

KEYPOINTS = 17
THRESHOLD_PX = 12.0
FRAMES = {3: 3000, 4: 3000, 8: 1500, 16: 500, 31: 120}
RANSAC_POINTS = {3: 300, 4: 150, 8: 10}
FAILURE_MM = 50.0
ANIPOSELIB = Path(__file__).parents[1] / ".bench" / "aniposelib-venv"
Method = Callable[[FloatArray], FloatArray]


def ring(views: int) -> Rig:
    rng = np.random.default_rng(0)
    cameras = []
    for v in range(views):
        azimuth, height = 2 * np.pi * v / views + 0.1 * rng.normal(), rng.uniform(0.1, 0.6)
        forward = -np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack((right, np.cross(forward, right), forward))
        K = np.array([[1500.0, 0, 959.5], [0, 1500, 539.5], [0, 0, 1]])
        cameras.append(Camera(f"cam{v}", K, rotation, 3000 * rotation @ forward, np.zeros(0), "pinhole", (1920, 1080)))
    return Rig(tuple(cameras))


def recording(rig: Rig, frames: int, outliers: float) -> tuple[FloatArray, FloatArray]:
    """World points (n, K, 3) and noisy observations (n, V, K, 2)."""
    rng = np.random.default_rng(1)
    xyz = rng.normal(size=(frames, 1, 3)) * 200 + rng.normal(size=(frames, KEYPOINTS, 3)) * 300
    xy = rig.project(xyz)
    xy += rng.normal(size=xy.shape) * 2
    wild = rng.random(xy.shape[:-1]) < outliers
    xy[wild] = rng.uniform(size=(int(wild.sum()), 2)) * (1920, 1080)
    return xyz, xy


def all_pairs(rig: Rig, xy: FloatArray, chunk: int = 256) -> FloatArray:
    """Robust consensus as usually vectorised: solve and verify every pair of views for all points of a chunk, refit twice."""
    normalised = NormalisedRig(rig)
    views = len(rig)
    pairs = np.array(list(itertools.combinations(range(views), 2)))
    P = normalised.P.transpose(1, 0, 2)
    flat = xy.transpose(1, 0, 2, 3).reshape(views, -1, 2)
    out = []
    for begin in range(0, flat.shape[1], chunk):
        u, v, scale = normalised.observe(flat[:, begin : begin + chunk, 0], flat[:, begin : begin + chunk, 1])
        rows = np.stack((u[..., None] * P[:, None, 2] - P[:, None, 0], v[..., None] * P[:, None, 2] - P[:, None, 1]), axis=2)
        gram = np.swapaxes(rows, -1, -2) @ rows  # (V, M, 4, 4)
        limit = (THRESHOLD_PX / scale) ** 2
        x = _solved(gram[pairs[:, 0]] + gram[pairs[:, 1]])  # (pairs, M, 3)
        error = _squared_error(P, x, u, v)  # (pairs, V, M)
        agree = error < limit
        rank = agree.sum(axis=1) - np.minimum(error / limit, 1).sum(axis=1) / (views + 1)
        best = rank.argmax(axis=0)
        inlier = np.take_along_axis(agree, best[None, None], axis=0)[0]
        for _ in range(2):
            found = _solved((gram * inlier[..., None, None]).sum(axis=0))
            inlier = _squared_error(P, found[None], u, v)[0] < limit
        out.append(normalised.to_world(found.T))
    return np.concatenate(out).reshape(*xy.shape[:1], KEYPOINTS, 3)


def _solved(gram: FloatArray) -> FloatArray:
    """Inhomogeneous solution (..., 3) of 4×4 Gram matrices, in closed form."""
    entries = np.stack([gram[..., i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))])
    right = -np.stack([gram[..., i, 3] for i in range(3)])
    x = solve(entries.reshape(6, -1), right.reshape(3, -1))
    return x.T.reshape(*gram.shape[:-2], 3)


def _squared_error(P: FloatArray, x: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """(h, M, 3) → (h, V, M); infinite behind the camera."""
    a, b, c = ((P[:, i, :3] @ np.swapaxes(x, -1, -2)) + P[:, i, 3:] for i in range(3))
    error = (a / c - u) ** 2 + (b / c - v) ** 2
    return np.where(c > 0, error, np.inf)


def batched_svd(rig: Rig, xy: FloatArray) -> FloatArray:
    """Homogeneous direct linear transform by NumPy's batched SVD on the same preconditioned rows."""
    normalised = NormalisedRig(rig)
    P = normalised.P.transpose(1, 0, 2)
    flat = xy.transpose(1, 0, 2, 3).reshape(len(rig), -1, 2)
    u, v, _ = normalised.observe(flat[..., 0], flat[..., 1])
    rows = np.concatenate((u[..., None] * P[:, None, 2] - P[:, None, 0], v[..., None] * P[:, None, 2] - P[:, None, 1]))
    x = np.linalg.svd(rows.transpose(1, 0, 2))[2][:, 3]
    return normalised.to_world((x[:, :3] / x[:, 3:]).T).reshape(len(xy), KEYPOINTS, 3)


def threaded(method: Method, threads: int) -> Method:
    """The method on equal shares of the frames, one per thread."""
    if threads == 1:
        return method

    def parallel(xy: FloatArray) -> FloatArray:
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(method, np.array_split(xy, threads))))

    return parallel


def line(task: str, name: str, us: float, factor: float, error_mm: FloatArray, note: str = "") -> None:
    """One line of the table; a missing point counts as infinitely far off, also in the median."""
    error_mm = np.where(np.isnan(error_mm), np.inf, error_mm)
    failures = int((~(error_mm < FAILURE_MM)).sum())
    print(
        f"  {task:7} {name:18} {us:10.2f} us/point {factor:9.2f} x ours  median {np.median(error_mm):6.2f} mm, "
        f"{failures:5d} failures  {note}",
        flush=True,
    )


def compare(task: str, methods: Mapping[str, Method], xyz: FloatArray, xy: FloatArray, threads: int, note: str) -> float:
    """Lines of all methods, ours first; our microseconds per point."""
    methods = {name: threaded(method, threads) for name, method in methods.items()}
    found = {name: method(xy) for name, method in methods.items()}
    clock = time.process_time if threads == 1 else time.perf_counter
    seconds = in_turn([partial(method, xy) for method in methods.values()], clock=clock)
    factor = np.median(seconds / seconds[:, :1], axis=0)
    for place, (name, method) in enumerate(methods.items()):
        tracemalloc.start()
        method(xy)
        allocated = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        us = 1e6 * float(np.median(seconds[:, place])) / (xyz.size // 3)
        error = np.linalg.norm(found[name] - xyz, axis=-1)
        line(task, name, us, float(factor[place]), error, f"{allocated:6.1f} MiB  {note if place == 0 else ''}")
    return 1e6 * float(np.median(seconds[:, 0])) / (xyz.size // 3)


def bounds(views: int, points: int) -> str:
    """Microseconds per point, measured now: reading the observations and writing the points; the GEMM of the linear system."""
    block = np.zeros((points * (2 * views + 3),))
    target = np.empty_like(block)
    coefficients, columns = np.ones((9, 4 * views)), np.ones((4 * views, 512))
    copy, gemm = np.median(
        in_turn([lambda: np.copyto(target, block), lambda: [coefficients @ columns for _ in range(50)]]), axis=0
    )
    return f"bounds: copy {1e6 * copy / points:.3f}, GEMM {1e6 * gemm / (50 * 512):.3f} us/point"


def robust(rig: Rig, xy: FloatArray) -> FloatArray:
    return triangulate_robust(rig, xy, threshold_px=THRESHOLD_PX).xyz_world


def anipose_python() -> Path:
    """Python of the environment in which aniposelib lives; made when there is none."""
    python = ANIPOSELIB / "bin" / "python"
    if not python.exists():
        venv.create(ANIPOSELIB, with_pip=True)
    if subprocess.run([python, "-c", "import aniposelib"], capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "aniposelib"], check=True)
    return python


def anipose(rig: Rig, robust_xy: FloatArray, linear_xy: FloatArray) -> dict[str, FloatArray]:
    """What the worker found, see ``aniposelib_worker``."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "points.npz", Path(folder) / "found.npz"
        np.savez(
            source,
            K=np.stack([camera.K for camera in rig.cameras]),
            R=np.stack([camera.R_cam_world for camera in rig.cameras]),
            t=np.stack([camera.t_cam_world for camera in rig.cameras]),
            robust=robust_xy,
            linear=linear_xy,
        )
        subprocess.run([anipose_python(), Path(__file__).with_name("aniposelib_worker.py"), source, target], check=True)
        with np.load(target) as found:
            return dict(found)


def compare_anipose(rig: Rig, recordings: Mapping[str, tuple[FloatArray, FloatArray]], ours: Mapping[str, float]) -> None:
    """aniposelib on the first points of each recording; the factor is against our time per point above."""
    views = len(rig)
    counts = {"robust": RANSAC_POINTS.get(views, 0), "linear": recordings["linear"][0].size // 6}
    first = {
        task: (xyz.reshape(-1, 3)[: counts[task]], xy.transpose(1, 0, 2, 3).reshape(views, -1, 2)[:, : counts[task]])
        for task, (xyz, xy) in recordings.items()
    }
    found = anipose(rig, first["robust"][1], first["linear"][1])
    for task, (xyz, points) in first.items():
        if task in found:
            us = 1e6 * float(np.median(found[f"{task}_seconds"])) / len(xyz)
            error = np.linalg.norm(found[task] - xyz, axis=-1)
            line(task, "aniposelib", us, us / ours[task], error, f"{len(xyz)} points, {len(found[f'{task}_seconds'])} repeats")
            same = (robust if task == "robust" else triangulate_linear)(rig, points[None])[0]
            line(
                task,
                "parallax, the same",
                ours[task],
                1.0,
                np.linalg.norm(same - xyz, axis=-1),
                f"error on these {len(xyz)} points",
            )


def run(threads: int, with_aniposelib: bool) -> None:
    """The table; NumPy's own threads are those of the environment variables, ``threads`` splits the frames."""
    for views, frames in FRAMES.items():
        rig = ring(views)
        recordings = {"robust": recording(rig, frames, 0.15), "linear": recording(rig, 2 * frames, 0.0)}
        methods: dict[str, dict[str, Method]] = {
            "robust": {"parallax": partial(robust, rig), "all pairs, NumPy": partial(all_pairs, rig)},
            "linear": {"parallax": partial(triangulate_linear, rig), "NumPy SVD": partial(batched_svd, rig)},
        }
        print(f"{views} views, {frames * KEYPOINTS} points (linear: twice as many), {threads} thread(s)")
        ours = {}
        for task, (xyz, xy) in recordings.items():
            ours[task] = compare(task, methods[task], xyz, xy, threads, bounds(views, xyz.size // 3))
        if with_aniposelib:
            compare_anipose(rig, recordings, ours)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--with-aniposelib", action="store_true", help="also time aniposelib, in an environment of its own")
    with_aniposelib = parser.parse_args().with_aniposelib
    for threads in (1, 2):
        print(f"\n{threads} thread(s), medians of {REPEATS} turns, {'CPU' if threads == 1 else 'wall'} time")
        run(threads, with_aniposelib and threads == 1)
    print(f"\npeak RSS of the whole run {peak_mib():.0f} MiB")


if __name__ == "__main__":
    main()
