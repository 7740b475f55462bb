"""Clocks of cameras → which pictures belong to the same instant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.errors import RecordingError

#: Cameras whose frame times differ by less than this ratio run at the same rate; clocks jitter.
_SAME_RATE = 0.9


def check_timestamps(times_s: FloatArray, n_frames: int, fps: float | None, where: str) -> None:
    """Raise BadInputError for timestamps that do not fit the frames, do not increase, or are not in seconds.

    fps  what the container says; None when it does not
    """
    if times_s.shape != (n_frames,):
        raise RecordingError(f"{where}: expected {n_frames} timestamps, one per frame, got {times_s.size}")
    if not (np.isfinite(times_s).all() and (np.diff(times_s) > 0).all()):
        raise RecordingError(f"{where}: timestamps must be finite and increase strictly")
    if fps is None or len(times_s) < 2:
        return
    for name, factor in (("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)):
        if factor / 3 < period(times_s) * fps < factor * 3:
            raise RecordingError(
                f"{where}: expected timestamps in seconds; {period(times_s):.6g} between frames at {fps:.5g} a second "
                f"looks like {name}"
            )


def is_even(times_s: FloatArray) -> bool:
    """Whether times are those of a constant rate, but for what containers round."""
    if len(times_s) < 3:
        return True
    step = (times_s[-1] - times_s[0]) / (len(times_s) - 1)
    return bool(np.abs(times_s - times_s[0] - step * np.arange(len(times_s))).max() < max(0.1 * step, 0.0011))


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
    """(n,) for each instant the nearest frame; -1 where none is within the tolerance, or it is nearer to another."""
    if len(times_s) == 0 or len(instants_s) == 0:
        return np.full(len(instants_s), -1, dtype=np.int64)
    nearest = _nearest(times_s, instants_s)
    fits = np.abs(times_s[nearest] - instants_s) <= tolerance_s
    mutual = _nearest(instants_s, times_s)[nearest] == np.arange(len(instants_s))
    return np.where(fits & mutual, nearest, -1).astype(np.int64)


def _nearest(sorted_s: FloatArray, wanted_s: FloatArray) -> IntArray:
    """(n,) index of the nearest of the sorted times; the earlier one of two as near."""
    right = np.searchsorted(sorted_s, wanted_s).clip(0, len(sorted_s) - 1)
    left = (right - 1).clip(0)
    return np.where(np.abs(sorted_s[left] - wanted_s) <= np.abs(sorted_s[right] - wanted_s), left, right)
