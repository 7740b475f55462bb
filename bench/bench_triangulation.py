"""Triangulation: time per point and error on identical points, against vectorised NumPy and aniposelib.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_triangulation [--with-aniposelib]

Cameras on a ring of 3 m, 17 keypoints, 2 px of noise, 15 % of all observations anywhere in the picture, threshold 12 px.
Medians of five turns in one process: CPU time, with two threads wall time; the factor is the median over the turns.  A failure
is a point that is missing or more than 50 mm off.  The all-pairs version gives everything that ours does; the batched SVD gives
points alone.

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
from label_config.values import FloatArray, Triangulation
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.geometry.normalised import NormalisedRig, invert, multiply
from ml_backend.geometry.triangulation import triangulate_linear, triangulate_robust

KEYPOINTS = 17
ENTRIES = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2), (0, 3), (1, 3), (2, 3)]
SYMMETRIC = [0, 1, 2, 1, 3, 4, 2, 4, 5]
THRESHOLD_PX = 12.0
FRAMES = {3: 3000, 4: 3000, 8: 1500, 16: 500, 31: 120}
RANSAC_POINTS = {3: 300, 4: 150, 8: 10}
FAILURE_MM = 50.0
#: Points at a time for the all-pairs version: the fastest of the powers of two.
CHUNK = {3: 4096, 4: 4096, 8: 1024, 16: 128, 31: 64}
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


def all_pairs(rig: Rig, xy: FloatArray, chunk: int | None = None) -> Triangulation:
    """Robust triangulation as usually vectorised, every output of ours included.

    Each chunk of points: the Gram matrix of every view; all pairs solved, projected into all views and ranked (agreeing views,
    then truncated squared errors); the best one's views solved twice, determined anew in between; two Gauss–Newton steps;
    inliers, residuals, covariance, largest angle between agreeing views.  For cameras without distortion.
    """
    normalised = NormalisedRig(rig)
    views, P = len(rig), normalised.P.transpose(1, 0, 2)
    first, second = np.array(list(itertools.combinations(range(views), 2))).T
    flat = xy.transpose(3, 1, 0, 2).reshape(2, views, -1)
    chunk = chunk or CHUNK[views]
    found = []
    for begin in range(0, flat.shape[2], chunk):
        (u, v), scale = normalised.observe(flat[..., begin : begin + chunk])
        limit = (THRESHOLD_PX / scale) ** 2
        gram = _gram(P, u, v)  # (9, V, M)
        error = _squared_error(P, _solved(gram[:, first] + gram[:, second]), u, v)  # (V, pairs, M)
        agree = error < limit[:, None]
        rank = agree.sum(axis=0) - np.minimum(error / limit[:, None], 1).sum(axis=0) / (views + 1)
        inlier = np.take_along_axis(agree, rank.argmax(axis=0)[None, None], axis=1)[:, 0]
        for _ in range(2):
            x = _solved((gram * inlier).sum(axis=1))
            inlier = _squared_error(P, x, u, v) < limit
        for _ in range(2):
            x = x + _newton_step(P, x, inlier * scale**2, u, v)[0]
        error = _squared_error(P, x, u, v)
        inlier = error < limit
        covariance = _newton_step(P, x, inlier * scale**2, u, v)[1]
        to_centre = normalised.centres.T[:, :, None] - x[:, None]
        to_centre /= np.sqrt((to_centre**2).sum(axis=0))
        cosine = (to_centre[:, first] * to_centre[:, second]).sum(axis=0)
        narrowest = np.where(inlier[first] & inlier[second], cosine, 1.0).min(axis=0)
        found.append((x, inlier, np.sqrt(error) * scale, covariance, np.degrees(np.arccos(narrowest.clip(-1, 1)))))
    x, inlier, residual, covariance, angle = (np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True))
    by_frame = (len(xy), KEYPOINTS)
    return Triangulation(
        xyz_world=normalised.to_world(x).reshape(*by_frame, 3),
        inlier=inlier.reshape(views, *by_frame).transpose(1, 0, 2),
        reprojection_px=residual.reshape(views, *by_frame).transpose(1, 0, 2),
        covariance=(covariance * normalised.unit**2)[SYMMETRIC].T.reshape(*by_frame, 3, 3),
        angle_deg=angle.reshape(by_frame),
        consensus=inlier.sum(axis=0).reshape(by_frame) >= 2,
    )


def _gram(P: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """(9, V, M): what :func:`_solved` needs of the Gram matrices of every view's two equations."""
    rows_u = u * P[:, 2].T[..., None] - P[:, 0].T[..., None]
    rows_v = v * P[:, 2].T[..., None] - P[:, 1].T[..., None]
    return np.stack([rows_u[i] * rows_u[j] + rows_v[i] * rows_v[j] for i, j in ENTRIES])


def _solved(gram: FloatArray) -> FloatArray:
    """(9, ...) → (3, ...) inhomogeneous solution of the linear equations, in closed form."""
    flat = gram.reshape(9, -1)
    return -multiply(invert(flat[:6]), flat[6:]).reshape(3, *gram.shape[1:])


def _projected(P: FloatArray, x: FloatArray) -> FloatArray:
    """(3, ...) → (3, V, ...) homogeneous image coordinates."""
    rows = P.transpose(1, 0, 2)
    return (rows[..., :3] @ x.reshape(3, -1) + rows[..., 3:]).reshape(3, len(P), *x.shape[1:])


def _squared_error(P: FloatArray, x: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """(3, M) → (V, M), (3, pairs, M) → (V, pairs, M); infinite behind the camera."""
    a, b, c = _projected(P, x)
    if x.ndim == 3:
        u, v = u[:, None], v[:, None]
    return np.where(c > 0, (a / c - u) ** 2 + (b / c - v) ** 2, np.inf)


def _newton_step(P: FloatArray, x: FloatArray, weight: FloatArray, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gauss–Newton step (3, M) on the weighted reprojection error, and the inverse (6, M) of its normal matrix."""
    a, b, c = _projected(P, x)
    a, b = a / c, b / c
    rows = P.transpose(1, 2, 0)[:, :3, :, None]
    along_u, along_v = (rows[0] - a * rows[2]) / c, (rows[1] - b * rows[2]) / c  # (3, V, M)
    weighted_u, weighted_v = along_u * weight, along_v * weight
    normal = np.stack([(weighted_u[i] * along_u[j] + weighted_v[i] * along_v[j]).sum(axis=0) for i, j in ENTRIES[:6]])
    inverse = invert(normal)
    return multiply(inverse, (weighted_u * (u - a) + weighted_v * (v - b)).sum(axis=1)), inverse


def batched_svd(rig: Rig, xy: FloatArray) -> FloatArray:
    """Homogeneous direct linear transform by NumPy's batched SVD on the same preconditioned rows."""
    normalised = NormalisedRig(rig)
    P = normalised.P.transpose(1, 0, 2)
    flat = xy.transpose(1, 0, 2, 3).reshape(len(rig), -1, 2)
    (u, v), _ = normalised.observe(flat.transpose(2, 0, 1))
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


def compare(
    task: str, methods: Mapping[str, Method], xyz: FloatArray, xy: FloatArray, threads: int, bound: tuple[float, float]
) -> float:
    """Lines of all methods, ours first and against its bounds; our microseconds per point."""
    methods = {name: threaded(method, threads) for name, method in methods.items()}
    found = {name: method(xy) for name, method in methods.items()}
    clock = time.process_time if threads == 1 else time.perf_counter
    seconds = in_turn([partial(method, xy) for method in methods.values()], clock=clock)
    factor = np.median(seconds / seconds[:, :1], axis=0)
    us = 1e6 * np.median(seconds, axis=0) / (xyz.size // 3)
    copy, gemm = bound
    against = f"{us[0] / copy:.0f} x the copy ({copy:.3f} us), {us[0] / gemm:.0f} x the GEMMs ({gemm:.3f} us)"
    for place, (name, method) in enumerate(methods.items()):
        tracemalloc.start()
        method(xy)
        allocated = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        error = np.linalg.norm(found[name] - xyz, axis=-1)
        note = f"{allocated:6.1f} MiB  {against if place == 0 else ''}"
        line(task, name, float(us[place]), float(factor[place]), error, note)
    return float(us[0])


def bounds(task: str, views: int, points: int) -> tuple[float, float]:
    """Microseconds per point, measured now: what has to be read and written, and the matrix products that have to be done.

    The products are those of a point that all views agree on: the linear system; for robust triangulation also four projections,
    two gradients and two normal matrices.
    """
    read, written = 2 * views, 3
    products = [(9, 4 * views)]
    if task == "robust":
        written += 9 + 1 + views + views // 8  # covariance, angle, residuals, inliers
        products += [(3 * views, 4)] * 4 + [(3, 3 * views)] * 2 + [(6, 4 * views)] * 2
    block = np.zeros((read + written) * points // 2)  # copying reads and writes every byte
    target = np.empty_like(block)
    columns = 4096
    factors = [(np.ones(shape), np.ones((shape[1], columns)), np.empty((shape[0], columns))) for shape in products]
    copy, gemm = np.median(
        in_turn([lambda: np.copyto(target, block), lambda: [np.matmul(a, b, out=c) for a, b, c in factors for _ in range(10)]]),
        axis=0,
    )
    return 1e6 * copy / points, 1e6 * gemm / (10 * columns)


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


def all_pairs_points(rig: Rig, xy_px: FloatArray) -> FloatArray:
    """The points alone."""
    return all_pairs(rig, xy_px).xyz_world


def run(threads: int, with_aniposelib: bool) -> None:
    """The table; NumPy's own threads are those of the environment variables, ``threads`` splits the frames."""
    for views, frames in FRAMES.items():
        rig = ring(views)
        recordings = {"robust": recording(rig, frames, 0.15), "linear": recording(rig, 2 * frames, 0.0)}
        methods: dict[str, dict[str, Method]] = {
            "robust": {"parallax": partial(robust, rig), "all pairs, NumPy": partial(all_pairs_points, rig)},
            "linear": {"parallax": partial(triangulate_linear, rig), "NumPy SVD": partial(batched_svd, rig)},
        }
        print(f"{views} views, {frames * KEYPOINTS} points (linear: twice as many), {threads} thread(s)")
        ours = {}
        for task, (xyz, xy) in recordings.items():
            ours[task] = compare(task, methods[task], xyz, xy, threads, bounds(task, views, xyz.size // 3))
        clean, count = recordings["linear"][1], recordings["linear"][0].size // 3
        us = 1e6 * np.median(in_turn([partial(robust, rig, clean)])) / count
        print(f"  robust  without outliers   {us:10.2f} us of CPU/point: nothing to search")
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
