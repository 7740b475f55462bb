"""Where tracks are worst: frames to label next, gaps, jumps, and bones that change their length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from label_config.values import BoolArray, FloatArray
from ml_backend.tracks.track_arrays import Tracks

#: A step is a jump when it is so many times the usual one of its keypoint, in the median.
JUMP = 8.0
#: Frames between two of the worst ones, so that the list does not show one bad moment only.
APART = 5


@dataclass(frozen=True)
class WorstFrame:
    """Position of an instant, and why in words."""

    at: int
    why: str


@dataclass(frozen=True)
class Gap:
    """A keypoint without a point from one position to another, in 3-D or (``view``) in one camera."""

    keypoint: int
    view: int | None
    first: int
    last: int


def jumps(tracks: Tracks) -> BoolArray:
    """(n, V, K) the step from the frame before is far longer than usual for the keypoint in this camera."""
    step = np.full(tracks.confidence.shape, np.nan)
    step[1:] = np.linalg.norm(np.diff(tracks.xy_px, axis=0), axis=-1)
    flat = step.reshape(len(step), -1)
    usual = np.array([np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan for column in flat.T])
    usual = np.maximum(usual, 1.0).reshape(step.shape[1:])  # below a pixel everything would jump
    with np.errstate(invalid="ignore"):
        return np.asarray(step > JUMP * usual)


def bone_lengths(tracks: Tracks) -> FloatArray | None:
    """(n, L) length of each limb in the rig's unit, None without points in 3-D."""
    if tracks.world is None or not tracks.skeleton.limbs:
        return None
    ends = np.array(tracks.skeleton.limbs)
    xyz = tracks.world.xyz_world
    return np.asarray(np.linalg.norm(xyz[:, ends[:, 0]] - xyz[:, ends[:, 1]], axis=-1))


def stretched(lengths: FloatArray) -> FloatArray:
    """(n, L) how far each length is from its median, as a share of it; NaN without one."""
    usual = np.array([np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else np.nan for c in lengths.T])
    return np.asarray(np.abs(lengths - usual) / np.maximum(usual, 1e-9))


def gaps(tracks: Tracks) -> list[Gap]:
    """The longest first; of points in 3-D where there is a rig, else of every camera."""
    found: list[Gap] = []
    missing: list[tuple[int | None, BoolArray]] = []
    if tracks.world is not None:
        missing = [(None, _absent(tracks.world.xyz_world))]
    else:
        missing += [(v, _absent(tracks.xy_px[:, v])) for v in range(len(tracks.views))]
    for view, absent in missing:
        for k in range(absent.shape[1]):
            edges = np.flatnonzero(np.diff(absent[:, k].astype(np.int8), prepend=0, append=0))
            found += [Gap(k, view, int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return sorted(found, key=lambda gap: gap.first - gap.last)


def _absent(points: FloatArray) -> BoolArray:
    return np.asarray(~np.isfinite(points).all(axis=-1))


def worst_frames(tracks: Tracks, count: int = 30) -> list[WorstFrame]:
    """Frames whose points are least sure, contradict the other cameras, jump, or make bones of other lengths.

    Each of these is a share between 0 and 1 of the frame's points; their sum is how bad the frame is.
    """
    seen = ~_absent(tracks.xy_px)
    points = np.maximum(seen.sum(axis=(1, 2)), 1)
    parts = {"unsure": np.where(seen, 1 - np.clip(tracks.confidence, 0, 1), 0.0).sum(axis=(1, 2)) / points}
    parts["jumping"] = jumps(tracks).sum(axis=(1, 2)) / points
    if tracks.world is not None:
        parts["contradicted by other cameras"] = (seen & ~tracks.world.inlier).sum(axis=(1, 2)) / points
        lengths = bone_lengths(tracks)
        if lengths is not None:
            off = stretched(lengths)
            parts["on bones of another length"] = np.where(np.isfinite(off), off > 0.3, False).mean(axis=1)
    total = sum(parts.values(), np.zeros(len(tracks)))
    chosen: list[int] = []
    for at in np.argsort(-total, kind="stable").tolist():
        if len(chosen) == count:
            break
        if total[at] > 0 and seen[at].any() and all(abs(at - other) >= APART for other in chosen):
            chosen.append(at)
    return [
        WorstFrame(at, ", ".join(f"{share[at]:.0%} {name}" for name, share in parts.items() if share[at] >= 0.01))
        for at in chosen
    ]
