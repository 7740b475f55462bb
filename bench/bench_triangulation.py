"""Triangulation: time per point and error on identical points, against aniposelib and vectorised NumPy.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_triangulation

Cameras on a ring of 3 m, 17 keypoints, 2 px of noise, 15 % of all observations anywhere in the picture, threshold 12 px.
Times are medians of five (aniposelib: of one to five, on a stated subset).  A failure is a point that is missing or more than
50 mm off.  aniposelib's RANSAC tries all 2^V subsets of the views, so it is not run above 8 views.  It needs an environment of
its own (it installs another OpenCV); without it its rows are left out.
"""

from __future__ import annotations

import itertools
import resource
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from label_config.values import FloatArray
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.geometry.normalised import NormalisedRig, solve
from ml_backend.geometry.triangulation import triangulate_linear, triangulate_robust

try:
    from aniposelib.cameras import Camera as AniposeCamera
    from aniposelib.cameras import CameraGroup
    from scipy.spatial.transform import Rotation
except ImportError:
    CameraGroup = None

KEYPOINTS = 17
THRESHOLD_PX = 12.0
REPEATS = 5
FRAMES = {3: 600, 4: 600, 8: 300, 16: 120, 31: 60}
RANSAC_POINTS = {3: 300, 4: 150, 8: 10}
FAILURE_MM = 50.0
Method = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Row:
    """One method at one number of views; microseconds per point, mm, MiB of arrays allocated at the peak."""

    task: str
    method: str
    views: int
    points: int
    us_per_point: float
    median_mm: float
    failures: int
    peak_mib: float
    note: str = ""


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


def anipose(rig: Rig, robust: bool) -> Method:
    group = CameraGroup(
        [
            AniposeCamera(
                matrix=camera.K,
                dist=np.zeros(5),
                rvec=Rotation.from_matrix(camera.R_cam_world).as_rotvec(),
                tvec=camera.t_cam_world,
                name=camera.name,
            )
            for camera in rig.cameras
        ]
    )
    solve_points = group.triangulate_ransac if robust else group.triangulate

    def run_anipose(xy: FloatArray) -> FloatArray:
        points = np.ascontiguousarray(xy.transpose(1, 0, 2, 3).reshape(len(rig), -1, 2))
        result = solve_points(points, undistort=True)
        return np.asarray(result[0] if robust else result).reshape(*xy.shape[:1], -1, 3)

    return run_anipose


def threaded(method: Method, threads: int) -> Method:
    """The method on equal shares of the frames, one per thread."""
    if threads == 1:
        return method

    def parallel(xy: FloatArray) -> FloatArray:
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(method, np.array_split(xy, threads))))

    return parallel


def measure(task: str, name: str, method: Method, xyz: FloatArray, xy: FloatArray, repeats: int = REPEATS, note: str = "") -> Row:
    found = method(xy)  # warms up: imports, compilation, caches
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = method(xy)
        seconds.append(time.perf_counter() - start)
    tracemalloc.start()
    method(xy if repeats == REPEATS else xy[:1])
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    error = np.linalg.norm(found - xyz, axis=-1)
    failures = int((~(error < FAILURE_MM)).sum())
    points = error.size
    return Row(
        task,
        name,
        xy.shape[1],
        points,
        1e6 * float(np.median(seconds)) / points,
        float(np.nanmedian(error)),
        failures,
        peak,
        note,
    )


def bounds(views: int, points: int) -> tuple[float, float]:
    """µs per point, measured now: reading the observations and writing the points; the GEMM of the linear system."""
    block = np.zeros((points * (2 * views + 3),))
    target = np.empty_like(block)
    coefficients, columns = np.ones((9, 4 * views)), np.ones((4 * views, 512))
    copy, gemm = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        np.copyto(target, block)
        copy.append((time.perf_counter() - start) / points)
        start = time.perf_counter()
        for _ in range(50):
            coefficients @ columns
        gemm.append((time.perf_counter() - start) / (50 * 512))
    return 1e6 * float(np.median(copy)), 1e6 * float(np.median(gemm))


def run(threads: int) -> list[Row]:
    """All rows; NumPy's own threads are those of the environment variables, ``threads`` splits the frames."""
    rows = []
    for views, frames in FRAMES.items():
        rig = ring(views)
        xyz, xy = recording(rig, frames, 0.15)
        rows.append(measure("robust", "parallax", threaded(partial(_robust, rig), threads), xyz, xy))
        rows.append(measure("robust", "all pairs", threaded(partial(all_pairs, rig), threads), xyz, xy))
        if CameraGroup is not None and threads == 1 and views in RANSAC_POINTS:
            share = -(-RANSAC_POINTS[views] // KEYPOINTS)
            part = measure("robust", "parallax", partial(_robust, rig), xyz[:share], xy[:share], note="same subset")
            rows.extend((part, measure("robust", "aniposelib", anipose(rig, True), xyz[:share], xy[:share], 1, "subset")))
        xyz, xy = recording(rig, 2 * frames, 0.0)
        copy, gemm = bounds(views, xyz.shape[0] * KEYPOINTS)
        note = f"copy {copy:.3f}, GEMM {gemm:.3f} us/pt"
        rows.append(measure("linear", "parallax", threaded(partial(triangulate_linear, rig), threads), xyz, xy, note=note))
        rows.append(measure("linear", "NumPy SVD", threaded(partial(batched_svd, rig), threads), xyz, xy))
        if CameraGroup is not None and threads == 1:
            rows.append(measure("linear", "aniposelib", anipose(rig, False), xyz[:frames], xy[:frames], 2, "half the points"))
    return rows


def _robust(rig: Rig, xy: FloatArray) -> FloatArray:
    return triangulate_robust(rig, xy, threshold_px=THRESHOLD_PX).xyz_world


def main() -> None:
    columns = ("task", "method", "V", "points", "us/point", "ratio", "median mm", "failures", "MiB")
    for threads in (1, 2):
        rows = run(threads)
        print(f"\n{threads} thread(s); ratio = times slower than parallax on the same points")
        print("{:7} {:11} {:>3} {:>7} {:>10} {:>8} {:>10} {:>9} {:>7}".format(*columns))
        for row in rows:
            ours = [r for r in rows if (r.task, r.views, r.method) == (row.task, row.views, "parallax")]
            reference = next((r for r in ours if r.points == row.points), ours[0])
            print(
                f"{row.task:7} {row.method:11} {row.views:3d} {row.points:7d} {row.us_per_point:10.2f} "
                f"{row.us_per_point / reference.us_per_point:8.1f} {row.median_mm:10.2f} {row.failures:9d} "
                f"{row.peak_mib:7.1f}  {row.note}"
            )
    print(f"\npeak RSS of the whole run {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
