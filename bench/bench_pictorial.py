"""Pictorial structures: time per frame, and each message against the two obvious ways of computing it.

    OMP_NUM_THREADS=1 python -m bench.bench_pictorial

Sixteen joints, fifteen limbs, a 2 m box, CPU time of one thread, medians (and minima) of several repeats in one process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import fft

from bench.measure import in_turn, peak_mib
from label_config.values import Float32Array, FloatArray
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.geometry.pictorial import PictorialStructure, infer_heatmaps, infer_points, moments
from ml_backend.geometry.pictorial_body import LimbLengths
from ml_backend.geometry.pictorial_shells import ShellConvolution, shell
from ml_backend.geometry.pictorial_unary import voxel_points

SIDE_MM = 2000.0
#: pelvis, hips–knees–ankles, thorax, neck, head, shoulders–elbows–wrists
LIMBS = (
    (0, 1),
    (1, 2),
    (2, 3),
    (0, 4),
    (4, 5),
    (5, 6),
    (0, 7),
    (7, 8),
    (8, 9),
    (7, 10),
    (10, 11),
    (11, 12),
    (7, 13),
    (13, 14),
    (14, 15),
)
POSE_MM = 100.0 * np.array(
    [(0, 0, 0), (-1, 0, 0), (-1, 4, 1), (-1, 8, 0), (1, 0, 0), (1, 4, 1), (1, 8, 0), (0, -5, 0)]
    + [(0, -6, 0), (0, -8, 0), (-2, -5, 0), (-3, -2, 1), (-4, 0, 2), (2, -5, 0), (3, -2, 1), (4, 0, 2)],
    dtype=np.float64,
)


def ring(n_views: int) -> Rig:
    """Cameras on a circle of 5 m radius that look at the origin."""
    cameras = []
    for v in range(n_views):
        angle = 1.7 * np.pi * v / n_views
        forward, down = -np.array([np.cos(angle), 0, np.sin(angle)]), np.array([0.0, 1.0, 0.0])
        rotation = np.stack([np.cross(down, forward), down, forward])
        K = np.array([[1400.0, 0, 499.5], [0, 1400.0, 499.5], [0, 0, 1]])
        lens = np.array([-0.1, 0.02, 0.0, 0.0, 0.0])
        cameras.append(Camera(f"cam{v}", K, rotation, rotation @ (5000 * forward), lens, size_px=(1000, 1000)))
    return Rig(tuple(cameras))


def heatmaps_of(xy_px: FloatArray) -> tuple[Float32Array, FloatArray]:
    """Gaussian maps (1, V, K, 64, 64) of points (V, K, 2) and the affine maps that lead there."""
    affine = np.tile([[0.064, 0, 0], [0, 0.064, 0]], (1, len(xy_px), 1, 1))
    centre = 0.064 * xy_px[..., None, None, :]
    y, x = np.mgrid[:64, :64]
    maps = np.exp(-((x - centre[..., 0]) ** 2 + (y - centre[..., 1]) ** 2) / (2 * 1.5**2))
    return maps[None].astype(np.float32), affine


def timed(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    """CPU milliseconds: median and minimum of ``repeats`` calls after one that is not counted."""
    call()
    ms = 1e3 * in_turn([call], repeats)
    return {"median_ms": float(np.median(ms)), "min_ms": float(ms.min())}


def full_padding(field: Float32Array, kernel: Float32Array) -> Float32Array:
    """The same convolution through ``fftn`` on a grid of twice the size, kernel spectrum included (nothing cached)."""
    grid, size = len(field), 2 * len(field)
    spectrum = fft.rfftn(field, (size,) * 3) * fft.rfftn(kernel, (size,) * 3)
    start = kernel.shape[0] // 2
    return np.asarray(fft.irfftn(spectrum, (size,) * 3)[start:, start:, start:][:grid, :grid, :grid])


def direct(field: Float32Array, kernel: Float32Array) -> Float32Array:
    """One shifted addition for every voxel of the shell."""
    grid, reach = len(field), kernel.shape[0] // 2
    padded = np.pad(field, reach)
    total = np.zeros_like(field)
    for i, j, k in np.argwhere(kernel):
        total += padded[i : i + grid, j : j + grid, k : k + grid]
    return total


def project_in_parts(rig: Rig, voxels: FloatArray) -> list[FloatArray]:
    """Pixels of all voxels, about 32,768 at a time."""
    return [rig.project(part) for part in np.split(voxels, len(voxels) >> 15)]


def message_rows(model: PictorialStructure, limbs: LimbLengths, repeats: int) -> list[dict[str, Any]]:
    """One message of the longest limb by three routes, checked to be the same."""
    longest = int(np.argmax(limbs.length_world))
    length = float(limbs.length_world[longest]) / model.spacing_world
    field = np.random.default_rng(0).random((model.grid,) * 3, dtype=np.float32)
    kernel = shell(length, 1.0, int(length + 1)).astype(np.float32)
    convolve = ShellConvolution(length, 1.0, model.grid)
    reference = convolve(field)
    routes: dict[str, tuple[Callable[[], Float32Array], int]] = {
        "message, pruned minimal padding": (lambda: convolve(field), repeats),
        "message, fftn with 2G padding": (lambda: full_padding(field, kernel), repeats),
        "message, direct shifted sums": (lambda: direct(field, kernel), min(repeats, 5)),
    }
    rows = []
    for name, (call, count) in routes.items():
        error = float(np.abs(call() - reference).max() / reference.max())
        if error > 1e-4:
            raise RuntimeError(f"{name} differs from the tested route by {error:.2g}")
        rows.append({"what": f"G={model.grid} {name}", **timed(call, count)})
    return rows


def run(grids: tuple[int, ...] = (32, 64), n_views: int = 4, repeats: int = 7) -> list[dict[str, Any]]:
    """Rows with ``what``, ``median_ms`` and ``min_ms``; errors of the estimates in ``error_mm``."""
    rig = ring(n_views)
    xy_px = rig.project(POSE_MM)
    maps, affine = heatmaps_of(xy_px)
    centre = np.zeros((1, 3))
    limbs = LimbLengths.from_labels(POSE_MM[None], LIMBS)
    rows: list[dict[str, Any]] = []
    for grid in grids:
        model = PictorialStructure(len(POSE_MM), limbs, SIDE_MM, grid)
        voxels = voxel_points(centre[0], SIDE_MM, grid)
        log_unary = np.random.default_rng(0).normal(size=(len(POSE_MM),) + (grid,) * 3).astype(np.float32)
        stages: dict[str, Callable[[], Any]] = {
            "frame from heatmaps": partial(infer_heatmaps, model, rig, maps, affine, centre),
            "frame from points": partial(infer_points, model, rig, xy_px[None], None, 25.0, centre),
            "  projection of voxels": partial(project_in_parts, rig, voxels),
            "  sum-product": partial(model.marginals, log_unary),
            "  moments": partial(moments, log_unary, SIDE_MM),
        }
        for name, call in stages.items():
            row: dict[str, Any] = {"what": f"G={grid} {n_views} views {name}", **timed(call, repeats)}
            if name.startswith("frame"):
                row["error_mm"] = float(np.linalg.norm(call().mean_world[0] - POSE_MM, axis=1).mean())
            rows.append(row)
        rows += message_rows(model, limbs, repeats)
    return rows


def main() -> None:
    """Print the table."""
    for row in run():
        error = f"  error {row['error_mm']:.1f} mm" if "error_mm" in row else ""
        print(f"{row['what']:<48}{row['median_ms']:>9.1f} ms  [{row['min_ms']:.1f}]{error}")
    print(f"peak RSS {peak_mib():.0f} MiB")


if __name__ == "__main__":
    main()
