"""Label check: how many misplaced and exchanged points it finds, and how many of those that it names are.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_label_check [--data FOLDER]

The two hand-labelled mice of dannce (81 and 91 frames, six cameras, 22 keypoints; the labels were placed in 3-D, so the clicks
are made here): to each point an offset of 5 px that is its keypoint's in its camera in all frames, and 5 px of noise (standard
deviation of each coordinate).  One point in fifty is then moved in one view, in any direction; in another run the pairs of one
view in fifty are exchanged.  Five seeds and both mice; the files are not part of the repository.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from label_config.values import BoolArray, FloatArray
from ml_backend.geometry.calibration import read_calibration
from ml_backend.geometry.cameras import Rig
from ml_backend.labels.label_check import contradicted_clicks, swapped_pairs

MOVED_PX = (5, 10, 15, 20, 25, 30, 40, 50, 60)
NOISE_PX, OFFSET_PX, SHARE, SEEDS = 5.0, 5.0, 0.02, 5
SIZE_PX = (1152, 1024)


def mice(folder: Path) -> Iterator[tuple[Rig, FloatArray]]:
    """Rig and points (m, 6, 22, 2) of both."""
    for number in (1, 2):
        path = folder / f"dannce_mouse_6cam/markerless_mouse_{number}/label3d_dannce.mat"
        rig = read_calibration(path, sizes_px={f"Camera{i}": SIZE_PX for i in range(1, 7)}).rig
        labels = [cell[0, 0] for cell in loadmat(path, variable_names=["labelData"])["labelData"].ravel()]
        yield rig, np.stack([label["data_2d"].reshape(-1, 22, 2) for label in labels], axis=1)


def clicked(xy_px: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The points as somebody would have clicked them."""
    offset = rng.normal(size=xy_px.shape[1:])
    offset *= OFFSET_PX / np.linalg.norm(offset, axis=-1, keepdims=True)
    return xy_px + offset + rng.normal(size=xy_px.shape) * NOISE_PX


def moved(xy_px: FloatArray, rng: np.random.Generator, by_px: float) -> tuple[FloatArray, BoolArray]:
    """Some points elsewhere, at most one view of each, and which (m, V, K)."""
    spoilt, which = xy_px.copy(), np.zeros(xy_px.shape[:-1], dtype=np.bool_)
    known: BoolArray = np.all(np.isfinite(xy_px), axis=-1)
    for f, k in np.argwhere(known.any(axis=1) & (rng.random(known[:, 0].shape) < SHARE * known.shape[1])):
        v = rng.choice(np.flatnonzero(known[f, :, k]))
        angle = rng.uniform(0, 2 * np.pi)
        spoilt[f, v, k] += by_px * np.array((np.cos(angle), np.sin(angle)))
        which[f, v, k] = True
    return spoilt, which


def accused(rig: Rig, xy_px: FloatArray) -> BoolArray:
    """(m, V, K) points that the check names."""
    named = np.zeros(xy_px.shape[:-1], dtype=np.bool_)
    for conflict in contradicted_clicks(rig, xy_px):
        if conflict.view is not None:
            named[conflict.frame, conflict.view, conflict.keypoint] = True
    return named


def pairs_of(xy_px: FloatArray) -> tuple[tuple[int, int], ...]:
    """Left and right of the 22 keypoints, which the files do not name: ears, and three or four points of each leg."""
    return ((0, 1), (8, 12), (9, 13), (10, 14), (11, 15), (16, 19), (17, 20), (18, 21))


def main(folder: Path) -> None:
    """Both tables."""
    recordings = list(mice(folder))
    print("moved by, px | recall | precision")
    for by_px in MOVED_PX:
        hits = wrong = named = 0
        for rig, xy in recordings:
            for seed in range(SEEDS):
                rng = np.random.default_rng(seed)
                spoilt, which = moved(clicked(xy, rng), rng, by_px)
                found = accused(rig, spoilt)
                hits, wrong, named = hits + int((found & which).sum()), wrong + int(which.sum()), named + int(found.sum())
        print(f"{by_px} | {hits / wrong:.3f} ({hits} of {wrong}) | {hits / max(named, 1):.3f}", flush=True)
    print("pairs exchanged, px apart | found | of those named, exchanged")
    counts: dict[str, list[int]] = {}
    named = right = 0
    for rig, xy in recordings:
        pairs = pairs_of(xy)
        for seed in range(SEEDS):
            rng = np.random.default_rng(seed)
            points = clicked(xy, rng)
            apart = np.stack([np.linalg.norm(xy[:, :, a] - xy[:, :, b], axis=-1) for a, b in pairs], axis=-1)
            chosen = np.isfinite(apart) & (rng.random(apart.shape) < SHARE)
            for f, v, p in np.argwhere(chosen):
                points[f, v, list(pairs[p])] = points[f, v, list(pairs[p])[::-1]]
            reported = {(s.frame, s.view, s.left) for s in swapped_pairs(rig, points, pairs)}
            named += len(reported)
            for f, v, p in np.argwhere(chosen):
                hit = (f, v, pairs[p][0]) in reported
                right += hit
                group = next(name for limit, name in ((20, "< 20"), (40, "20–40"), (np.inf, "≥ 40")) if apart[f, v, p] < limit)
                entry = counts.setdefault(group, [0, 0])
                entry[0] += hit
                entry[1] += 1
    for group in ("< 20", "20–40", "≥ 40"):
        right_in_group, of = counts.get(group, [0, 0])
        print(f"{group} | {right_in_group / max(of, 1):.3f} ({right_in_group} of {of}) |")
    print(f"all | {right / max(sum(of for _, of in counts.values()), 1):.3f} | {right / max(named, 1):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    main(parser.parse_args().data)
