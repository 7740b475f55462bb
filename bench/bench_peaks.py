"""Local maxima of heatmaps: time against scikit-image, distance to the memory bound, and what each of them finds.

    OMP_NUM_THREADS=1 python -m bench.bench_peaks

1,000 pictures × 17 maps of 64×48 (uniform positions, a second peak in every fourth map, noise), CPU time of one thread, medians
(and extremes) of seven repeats in one process; scikit-image on the first 50 pictures, scaled to 1,000.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.measure import in_turn, peak_mib
from label_config.values import Float32Array, FloatArray
from ml_backend.heatmaps.codecs import DARK
from ml_backend.heatmaps.peaks import find_peaks

IMAGES, KEYPOINTS, SIZE_HM = 1000, 17, (64, 48)
REPEATS = 7
REFERENCE_IMAGES = 50


def make_maps(noise: float) -> tuple[Float32Array, FloatArray]:
    """Maps (n, K, h, w) and the place (n, K, 2) of the stronger peak of each."""
    rng = np.random.default_rng(0)
    h, w = SIZE_HM
    truth = rng.uniform((0, 0), (w - 1, h - 1), (IMAGES, KEYPOINTS, 2))
    maps, _ = DARK().encode(truth, SIZE_HM)
    second, _ = DARK().encode(rng.uniform((0, 0), (w - 1, h - 1), truth.shape), SIZE_HM)
    maps += 0.5 * second * (rng.random((IMAGES, KEYPOINTS, 1, 1)) < 0.25).astype(np.float32)
    if noise:
        maps += rng.normal(0, noise, maps.shape).astype(np.float32)
    return maps, truth


def timed(function: Callable[[], object]) -> tuple[float, float, float]:
    """Median, smallest and largest CPU seconds."""
    seconds = in_turn([function], REPEATS)
    return float(np.median(seconds)), float(seconds.min()), float(seconds.max())


def report(name: str, seconds: tuple[float, float, float], scale: float, bound: float) -> None:
    median, low, high = (scale * s for s in seconds)
    print(f"  {name:<46}{median:8.3f} s CPU  [{low:.3f} … {high:.3f}]  {median / bound:7.1f} × reading the maps once")


def found(xy_hm: FloatArray, truth: FloatArray) -> float:
    """Share of maps with a peak within 1.5 cells of the truth."""
    distance = np.linalg.norm(xy_hm - truth[..., None, :], axis=-1)
    return float((np.nan_to_num(distance, nan=np.inf).min(axis=-1) <= 1.5).mean())


def library_peaks(maps: Float32Array) -> list[Any]:
    """What the papers' code calls, map by map."""
    feature: Any = importlib.import_module("skimage.feature")
    return [feature.peak_local_max(hm, min_distance=5, num_peaks=5) for hm in maps.reshape(-1, *SIZE_HM)]


def compare(noise: float) -> None:
    """One table."""
    maps, truth = make_maps(noise)
    few = maps[:REFERENCE_IMAGES]
    scale = IMAGES / REFERENCE_IMAGES
    bound = timed(lambda: maps.max())[0]
    print(f"noise {noise}: {IMAGES} pictures × {KEYPOINTS} maps {SIZE_HM[0]}×{SIZE_HM[1]}, {maps.nbytes / 2**20:.0f} MiB")
    ours = timed(lambda: find_peaks(maps))
    library = timed(lambda: library_peaks(few))
    report("find_peaks", ours, 1, bound)
    report("find_peaks, whole cells", timed(lambda: find_peaks(maps, subpixel=False)), 1, bound)
    report("scikit-image peak_local_max", library, scale, bound)
    print(f"  find_peaks is {scale * library[0] / ours[0]:.0f} × as fast as scikit-image")
    print(f"  true maximum found: find_peaks {found(find_peaks(maps)[0], truth):.1%}")


def main() -> None:
    """Print the tables."""
    for noise in (0.0, 0.02):
        compare(noise)
    print(f"peak RSS {peak_mib():.0f} MiB")


if __name__ == "__main__":
    main()
