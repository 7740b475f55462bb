"""Subjects matched across cameras: right ones and time per frame, against greedy pairs and the multi-way matching of Dong et al.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench matching

Figures of the capture studio that cross and hide one another, pictures of 640 × 480, 2 px of noise; 10 % of the instances are
missing, as many are spurious (another moment's figure somewhere else in the picture), and the first camera is off by 3 px.  All
methods get the same evidence of pairs; its time is in that of each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from label_config.values import BoolArray, FloatArray, IntArray
from ml_backend.geometry.association import pair_evidence
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.partition import partition
from ml_backend.simulation.studio import CaptureStudio

FRAMES, EVERY = 40, 12
SIZE, FILL = (640, 480), 0.35
NOISE_PX, OFF_PX, MISSING, SPURIOUS, HIDDEN_SEEN = 2.0, 3.0, 0.1, 0.1, 0.3
#: Dong et al. 2019, §3.2: weight of the nuclear norm; step and end of ADMM as usual for it.
NUCLEAR, STEP, TOLERANCE, MOST_STEPS = 50.0, 64.0, 5e-4, 500
Match = Callable[[FloatArray, IntArray], IntArray]


@dataclass(frozen=True)
class Detections:
    """Instances of one frame: xy_px (N, K, 2), view (N,), subject (N,) who it is, -1 = spurious."""

    xy_px: FloatArray
    view: IntArray
    subject: IntArray


def detections(subjects: int, views: int, seed: int = 0) -> tuple[Rig, list[Detections]]:
    """The rig, and what a detector would find in FRAMES frames."""
    studio = CaptureStudio(seed, FRAMES * EVERY, views, SIZE, fill=FILL, figures=subjects)
    rng = np.random.default_rng(seed)
    xy = studio.subjects_xy[::EVERY] + rng.normal(size=studio.subjects_xy[::EVERY].shape) * NOISE_PX
    lost = studio.subjects_occluded[::EVERY] & (rng.random(xy.shape[:-1]) > HIDDEN_SEEN)
    lost |= ~studio.rig.inside(xy)
    xy[lost] = np.nan
    xy[:, :, 0] += OFF_PX / np.sqrt(2)
    return studio.rig, [_frame(rng, xy, i) for i in range(FRAMES)]


def _frame(rng: np.random.Generator, xy: FloatArray, frame: int) -> Detections:
    seen = np.isfinite(xy[frame]).all(axis=-1).sum(axis=-1) >= 3
    subject, view = np.nonzero(seen & (rng.random(seen.shape) >= MISSING))
    extra_of, extra_in = np.nonzero(seen & (rng.random(seen.shape) < SPURIOUS))
    other = xy[(frame + FRAMES // 2) % FRAMES][extra_of, extra_in] + rng.uniform(-60, 60, (len(extra_of), 1, 2))
    known = np.isfinite(other).any(axis=(1, 2))
    order = rng.permutation(len(subject) + int(known.sum()))
    return Detections(
        np.concatenate((xy[frame][subject, view], other[known]))[order],
        np.concatenate((view, extra_in[known]))[order],
        np.concatenate((subject, np.full(int(known.sum()), -1)))[order],
    )


def ours(evidence: FloatArray, view: IntArray) -> IntArray:
    """The partition of most evidence."""
    return partition(evidence, view).cluster


def greedy(evidence: FloatArray, view: IntArray) -> IntArray:
    """The pairs that agree most first; a pair that would put two instances of a camera together is left out."""
    cluster = np.arange(len(view))
    i, j = np.nonzero(np.triu(evidence > 0, 1))
    for a, b in zip(*(side[np.argsort(-evidence[i, j], kind="stable")] for side in (i, j)), strict=True):
        one, other = cluster == cluster[a], cluster == cluster[b]
        if cluster[a] != cluster[b] and not np.isin(view[one], view[other]).any():
            cluster[other] = cluster[a]
    return cluster


def multi_way(evidence: FloatArray, view: IntArray) -> IntArray:
    """min −⟨A, P⟩ + λ‖P‖_* over partial permutations, relaxed, by ADMM (Dong et al. 2019, §3.2), then P > ½.

    A is the evidence where it is positive; moved into [0, 1] instead, contradictions and all, it did worse.  Rows and columns of
    a block sum to at most 1 by alternating projections.  Instances that P joins, directly or through others, are one subject.
    """
    affinity = np.where(view[:, None] == view[None], 0.0, np.maximum(evidence, 0))
    same = view[:, None] == view[None]
    found = affinity.copy()
    dual = np.zeros_like(found)
    step = STEP
    for _ in range(MOST_STEPS):
        before = found
        u, s, vt = np.linalg.svd(found - dual / step)
        low_rank = (u * np.maximum(s - NUCLEAR / step, 0)) @ vt
        found = _feasible(low_rank + (affinity + dual) / step, view, same)
        dual = dual + step * (low_rank - found)
        primal, change = np.linalg.norm(low_rank - found) / len(view), step * np.linalg.norm(found - before) / len(view)
        if primal < TOLERANCE and change < TOLERANCE:
            break
        step = step * 2 if primal > 10 * change else step / 2 if change > 10 * primal else step
    return _linked((found > 0.5) & (found.T > 0.5))


def _feasible(matrix: FloatArray, view: IntArray, same: BoolArray) -> FloatArray:
    """Symmetric, in [0, 1], the identity within a camera, and no row of a block above 1."""
    matrix = np.clip((matrix + matrix.T) / 2, 0, 1)
    member = (view[:, None] == np.unique(view)).astype(np.float64)
    for _ in range(5):
        excess = np.maximum(matrix @ member - 1, 0) / np.maximum(member.sum(axis=0), 1)
        matrix = np.maximum(matrix - excess[:, np.argmax(member, axis=1)], 0)
        matrix = (matrix + matrix.T) / 2
    return np.where(same, np.eye(len(view)), matrix)


def _linked(joined: BoolArray) -> IntArray:
    cluster = np.arange(len(joined))
    for i, j in np.argwhere(np.triu(joined, 1)):
        cluster[cluster == cluster[j]] = cluster[i]
    return cluster


def right_share(cluster: IntArray, truth: IntArray) -> tuple[int, int]:
    """Subjects whose instances, two or more, are one cluster without any other instance; and how many there are."""
    right = count = 0
    for subject in range(int(truth.max(initial=-1)) + 1):
        mine = truth == subject
        if mine.sum() >= 2:
            count += 1
            right += set(np.flatnonzero(cluster == cluster[mine][0]).tolist()) == set(np.flatnonzero(mine).tolist())
    return right, count


def pairs(cluster: IntArray, truth: IntArray) -> tuple[int, int, int]:
    """Pairs of instances joined rightly, joined at all, and that should be."""
    joined = np.triu(cluster[:, None] == cluster[None], 1)
    wanted = np.triu((truth[:, None] == truth[None]) & (truth >= 0)[:, None], 1)
    return int((joined & wanted).sum()), int(joined.sum()), int(wanted.sum())


def compare(subjects: int, views: int) -> None:
    """One block of the table."""
    rig, frames = detections(subjects, views)
    methods: dict[str, Match] = {"parallax": ours, "greedy pairs": greedy, "Dong et al.": multi_way}
    for place, (name, method) in enumerate(methods.items()):
        counts, joined, times = np.zeros(2), np.zeros(3), []
        for frame in frames:
            start = time.process_time()
            evidence = pair_evidence(rig, frame.xy_px, _undistorted(rig, frame), frame.view)
            cluster = method(evidence, frame.view)
            times.append(time.process_time() - start)
            counts += right_share(cluster, frame.subject)
            joined += pairs(cluster, frame.subject)
        what = f"{subjects} × {views}" if place == 0 else ""
        precision, recall = joined[0] / max(joined[1], 1), joined[0] / joined[2]
        print(
            f"| {what} | {name} | {counts[0] / counts[1]:.1%} | {precision:.1%} | {recall:.1%} | {1e3 * np.median(times):.1f} ms "
            f"| {1e3 * max(times):.0f} ms |",
            flush=True,
        )


def _undistorted(rig: Rig, frame: Detections) -> FloatArray:
    undistorted = np.full(frame.xy_px.shape, np.nan)
    for v, camera in enumerate(rig.cameras):
        undistorted[frame.view == v] = camera.undistort(frame.xy_px[frame.view == v])
    return undistorted


def main() -> None:
    """Print the table."""
    print("| subjects × cameras | method | subjects right in all cameras | pairs: precision | recall | median | worst |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for subjects in (2, 4, 10):
        for views in (4, 8, 12):
            compare(subjects, views)


if __name__ == "__main__":
    main()
