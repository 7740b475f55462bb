"""Labels that stand out where no other camera can say so: against another person's, and against the frames before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.masked import masked_median, median_of

#: A distance stands out when it is so many times the usual one of its keypoint …
TIMES = 6.0
#: … and more than this share of the subject's diagonal, and this many pixels.
SHARE, FLOOR_PX = 0.02, 3.0
#: So many distances of a keypoint before its own usual one counts; else that of all keypoints together.
ENOUGH = 20
#: Labelled frames so far apart still count as neighbours in time.
NEAR = 10


class Outstanding(NamedTuple):
    """Position of a frame (or of a pair of people), view and keypoint, and the distance in pixels."""

    frame: int
    view: int
    keypoint: int
    off_px: float


def people_apart(first_px: FloatArray, second_px: FloatArray) -> list[Outstanding]:
    """Points (n, V, K, 2) that two people placed in the same pictures, and that lie farther apart than people's usually do."""
    return _outstanding(np.linalg.norm(first_px - second_px, axis=-1), first_px)


def jumps_in_time(index: IntArray, xy_px: FloatArray) -> list[Outstanding]:
    """Points (m, V, K, 2) of labelled frames of one recording, in order, that leave the line between their labelled neighbours.

    index  (m,) numbers of the frames; only those count whose neighbours on both sides lie within :data:`NEAR` frames
    """
    off = np.full(xy_px.shape[:-1], np.nan)
    step = np.diff(index)
    for at in range(1, len(index) - 1):
        if step[at - 1] <= NEAR and step[at] <= NEAR:
            share = step[at - 1] / (step[at - 1] + step[at])
            off[at] = np.linalg.norm(xy_px[at] - (1 - share) * xy_px[at - 1] - share * xy_px[at + 1], axis=-1)
    found = _outstanding(off, xy_px)
    # A label that is off makes its neighbours look off, by half as much: only the farthest of three in a row counts.
    places = {(one.frame, one.view, one.keypoint): one.off_px for one in found}
    return [one for one in found if all(places.get((one.frame + d, one.view, one.keypoint), 0.0) < one.off_px for d in (-1, 1))]


def _outstanding(off_px: FloatArray, xy_px: FloatArray) -> list[Outstanding]:
    if not off_px.size:
        return []
    by_keypoint = masked_median(np.moveaxis(off_px, -1, 0).reshape(off_px.shape[-1], -1))
    counts = np.isfinite(off_px).sum(axis=(0, 1))
    usual = np.where(counts >= ENOUGH, by_keypoint, median_of(off_px))
    if not np.isfinite(off_px).any() or np.isfinite(off_px).sum() < ENOUGH:
        usual = np.full(off_px.shape[-1], 0.0)
    limit = np.maximum(np.maximum(TIMES * np.nan_to_num(usual), FLOOR_PX), SHARE * diagonals(xy_px)[..., None])
    with np.errstate(invalid="ignore"):
        places = np.argwhere(off_px > limit)
    found = [Outstanding(int(f), int(v), int(k), float(off_px[f, v, k])) for f, v, k in places]
    return sorted(found, key=lambda one: -one.off_px)


def diagonals(xy_px: FloatArray) -> FloatArray:
    """(..., K, 2) → (...) diagonal of the box around the points, 0 without any."""
    known = np.isfinite(xy_px).all(axis=-1, keepdims=True)
    low = np.where(known, xy_px, np.inf).min(axis=-2)
    high = np.where(known, xy_px, -np.inf).max(axis=-2)
    extent = np.where(high >= low, high - low, 0.0)
    return np.asarray(np.hypot(extent[..., 0], extent[..., 1]))


def pairs_of_people(poses: Sequence[FloatArray]) -> list[tuple[FloatArray, FloatArray]]:
    """Every two of one task's poses."""
    return [(poses[i], poses[j]) for i in range(len(poses)) for j in range(i + 1, len(poses))]
