"""Clocks of cameras → which pictures belong to the same instant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from label_config.values import BadInputError, FloatArray, IntArray

#: Cameras whose frame times differ by less than this ratio run at the same rate; clocks jitter.
_SAME_RATE = 0.9


def frame_times(n_frames: int, fps: float | None, offset_s: float, timestamps_s: FloatArray | None, where: str) -> FloatArray:
    """(n,) seconds on the recording's clock: the camera's own time plus its offset.

    Without timestamps frame ``i`` has the time ``i / fps`` (and ``i`` seconds when no rate is known).
    Raises BadInputError for timestamps that do not fit the frames or do not increase.
    """
    if timestamps_s is None:
        return np.arange(n_frames) / (fps or 1.0) + offset_s
    if timestamps_s.shape != (n_frames,):
        raise BadInputError(f"{where}: expected {n_frames} timestamps, one per frame, got {timestamps_s.size}")
    if not (np.isfinite(timestamps_s).all() and (np.diff(timestamps_s) > 0).all()):
        raise BadInputError(f"{where}: timestamps must be finite and increase strictly")
    return timestamps_s + offset_s


def period(times_s: FloatArray) -> float:
    """Median time between frames; inf for fewer than two."""
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else float("inf")


def reference_view(times_s: Mapping[str, FloatArray]) -> str:
    """The view whose frames are the recording's instants: the slowest camera, and of equally fast ones that with most frames.

    Slowest, so that every instant can have all views; most frames, because dropped frames of another then leave no hole.
    """
    periods = {view: period(times) for view, times in times_s.items() if len(times) > 1}
    slowest = max(periods.values(), default=float("inf"))
    candidates = [view for view in times_s if periods.get(view, slowest) > _SAME_RATE * slowest]
    return max(candidates, key=lambda view: len(times_s[view]))


def match_frames(instants_s: FloatArray, times_s: FloatArray, tolerance_s: float) -> IntArray:
    """(n,) for each instant the index of the nearest frame; −1 where none lies within the tolerance."""
    if len(times_s) == 0:
        return np.full(len(instants_s), -1, dtype=np.int64)
    right = np.searchsorted(times_s, instants_s).clip(0, len(times_s) - 1)
    left = (right - 1).clip(0)
    nearest = np.where(np.abs(times_s[left] - instants_s) <= np.abs(times_s[right] - instants_s), left, right)
    return np.where(np.abs(times_s[nearest] - instants_s) <= tolerance_s, nearest, -1).astype(np.int64)
