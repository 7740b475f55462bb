"""Which subject of a frame is which of the frames before: one number for each, kept through short absences.

Neighbouring frames are joined by the assignment of least distance (Kuhn 1955).  The distance of two poses is the mean over the
keypoints that both have of how far they lie apart, in sizes of the subject, each at most one: in the world where both have places
there, else in the pictures of the cameras that see both.  Of two subjects about as near, the one that was seen in more frames,
and lately, is preferred: a stray instance of one frame must not take a subject's number away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from label_config.values import FloatArray, IntArray
from label_config.values.masked import masked_mean, masked_median
from ml_backend.geometry.view_agreement import diagonal_px

#: Poses further apart than this are of two subjects, in sizes of the subject.
FARTHEST = 0.3
#: How much nearer, in sizes of the subject, somebody must be who was seen once only, or who has long been gone.
PREFERENCE = 0.05
#: For so many frames a subject may be gone and still be known when it comes back.
REMEMBERED_FRAMES = 15

T = TypeVar("T", bound=np.generic)


@dataclass
class _Known:
    """Subjects so far, as seen last: xy_px (T, V, K, 2), size_px (T, V), xyz_world (T, K, 3), frame (T,); times (T,) seen."""

    xy_px: FloatArray
    size_px: FloatArray
    xyz_world: FloatArray
    frame: IntArray
    times: IntArray


def link(
    xy_px: FloatArray, frames: IntArray, xyz_world: FloatArray | None = None, *, remembered: int = REMEMBERED_FRAMES
) -> IntArray:
    """(n, S) number of each pose's subject, from 0 in the order of their first appearance; -1 where there is no pose.

    xy_px      (n, S, V, K, 2) the poses of every frame in any order, NaN = no point
    frames     (n,) their numbers, rising
    xyz_world  (n, S, K, 3) their places, NaN = none; None = cameras without calibration
    """
    n, slots = xy_px.shape[:2]
    world = np.full((n, slots, xy_px.shape[3], 3), np.nan) if xyz_world is None else xyz_world
    size_px, size_world = diagonal_px(xy_px), _size_world(world)
    number = np.full((n, slots), -1, dtype=np.int64)
    known = _Known(xy_px[:0, 0], size_px[:0, 0], world[:0, 0], frames[:0], frames[:0])
    for i, frame in enumerate(frames.tolist()):
        present = np.flatnonzero(np.isfinite(xy_px[i]).all(axis=-1).any(axis=(1, 2)))
        remembers = np.flatnonzero(frame - known.frame <= remembered)
        apart = _distance(known, remembers, xy_px[i, present], size_px[i, present], world[i, present], size_world)
        gone = (frame - known.frame[remembers] - 1) / max(remembered, 1)
        cost = apart + PREFERENCE * (gone + 1 / known.times[remembers])[:, None]
        worth = np.where(apart < FARTHEST, np.maximum(FARTHEST - cost, 0.0), 0.0)
        rows, columns = linear_sum_assignment(worth, maximize=True)
        near = apart[rows, columns] < FARTHEST
        number[i, present[columns[near]]] = remembers[rows[near]]
        new = present[number[i, present] < 0]
        number[i, new] = len(known.frame) + np.arange(len(new))
        known = _seen(known, number[i, present], xy_px[i, present], size_px[i, present], world[i, present], frame)
    return number


def _seen(known: _Known, numbers: IntArray, xy_px: FloatArray, size_px: FloatArray, world: FloatArray, frame: int) -> _Known:
    """The last poses after a frame."""
    more = max(int(numbers.max(initial=-1)) + 1 - len(known.frame), 0)

    def grown(array: npt.NDArray[T]) -> npt.NDArray[T]:
        return np.concatenate((array, np.zeros((more, *array.shape[1:]), dtype=array.dtype)))

    after = _Known(grown(known.xy_px), grown(known.size_px), grown(known.xyz_world), grown(known.frame), grown(known.times))
    after.xy_px[numbers], after.size_px[numbers], after.xyz_world[numbers] = xy_px, size_px, world
    after.frame[numbers] = frame
    after.times[numbers] += 1
    return after


def _distance(
    known: _Known, rows: IntArray, xy_px: FloatArray, size_px: FloatArray, world: FloatArray, size_world: float
) -> FloatArray:
    """(T, S) distance of every known pose from every pose of the frame; infinite where nothing can be compared."""
    in_world = np.linalg.norm(known.xyz_world[rows, None] - world[None], axis=-1) / size_world
    apart_px = np.linalg.norm(known.xy_px[rows, None] - xy_px[None], axis=-1)
    size = np.maximum(known.size_px[rows, None], size_px[None])[..., None]
    in_pictures = apart_px / np.maximum(size, 1.0)
    of_world, _ = masked_mean(np.minimum(in_world, 1.0), axis=2)
    of_pictures, _ = masked_mean(np.minimum(in_pictures, 1.0), axis=(2, 3))
    found = np.where(np.isfinite(of_world), of_world, of_pictures)
    return np.where(np.isfinite(found), found, np.inf)


def _size_world(xyz_world: FloatArray) -> float:
    """The usual size of a subject: median over poses of the diagonal of the box around it, NaN = never seen in the world."""
    seen = np.asarray(np.isfinite(xyz_world).all(axis=-1, keepdims=True))
    extent = np.where(seen, xyz_world, -np.inf).max(axis=-2) - np.where(seen, xyz_world, np.inf).min(axis=-2)
    size = float(masked_median(np.linalg.norm(np.where(seen.any(axis=-2), extent, np.nan), axis=-1).ravel()))
    return size if size > 0 else float("nan")
