"""Smoothed tracks, beside the raw ones: a median or Savitzky–Golay filter over time, or a Kalman smoother.

Gaps stay gaps for the two filters: nothing is made up, and no window reaches over a frame without a point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import savgol_filter

from label_config.values import BoolArray, FloatArray
from ml_backend.tracks.kalman import smooth_points
from ml_backend.tracks.track_arrays import Tracks

#: Of the polynomials that Savitzky and Golay's filter fits.
SAVGOL_DEGREE = 2


class Method(StrEnum):
    """How tracks are smoothed."""

    MEDIAN = "median"
    SAVGOL = "savgol"
    KALMAN = "kalman"


#: Frames of the window.
_FRAMES = {Method.MEDIAN: 5, Method.SAVGOL: 7}


@dataclass(frozen=True)
class Smoothed:
    """Values beside those of a recording: xy_px (n, V, K, 2) and xyz_world (n, K, 3), each None where it was not smoothed."""

    method: Method
    xy_px: FloatArray | None
    xyz_world: FloatArray | None

    def applied(self, tracks: Tracks) -> Tracks:
        """The same recording with these values."""
        world = tracks.world
        if world is not None and self.xyz_world is not None:
            world = replace(world, xyz_world=self.xyz_world)
        return replace(tracks, xy_px=tracks.xy_px if self.xy_px is None else self.xy_px, world=world)


def smooth(tracks: Tracks, method: Method) -> Smoothed:
    """Points of every camera, and in 3-D where there is a rig.

    Then the Kalman smoother works on the points in 3-D alone, by their covariances, and the smoothed points of the cameras are
    what these see of the smoothed places.
    """
    world = tracks.world
    if method is not Method.KALMAN:
        xy = filtered(tracks.xy_px, method)
        return Smoothed(method, xy, None if world is None else filtered(world.xyz_world, method))
    if world is None or tracks.rig is None or len(tracks.views) == 1:  # nothing agrees with a single camera
        count, views, keypoints, _ = tracks.xy_px.shape
        found = smooth_points(tracks.xy_px.reshape(count, views * keypoints, 2))
        return Smoothed(method, found.xyz.reshape(tracks.xy_px.shape), None)
    agreed = np.where(world.consensus[..., None], world.xyz_world, np.nan)
    xyz = smooth_points(agreed, world.covariance).xyz
    return Smoothed(method, tracks.rig.project(xyz), xyz)


def filtered(points: FloatArray, method: Method) -> FloatArray:
    """(n, ..., D) points over time, NaN = none, each run of frames with a point by itself.

    A run that is shorter than the window has a shorter one; one of a Savitzky–Golay filter that is no longer than its degree
    stays as it is.
    """
    flat = points.reshape(len(points), -1, points.shape[-1])
    out = flat.copy()
    for k in range(flat.shape[1]):
        for run in _runs(np.asarray(np.isfinite(flat[:, k]).all(axis=-1))):
            length = run.stop - run.start
            window = min(_FRAMES[method], length - 1 + length % 2)
            if method is Method.MEDIAN:
                out[run, k] = median_filter(flat[run, k], size=(window, 1), mode="nearest")
            elif window > SAVGOL_DEGREE:
                out[run, k] = savgol_filter(flat[run, k], window, SAVGOL_DEGREE, axis=0, mode="interp")
    return out.reshape(points.shape)


def _runs(known: BoolArray) -> Iterator[slice]:
    """The stretches of frames with a point."""
    edges = np.flatnonzero(np.diff(known.astype(np.int8), prepend=0, append=0))
    yield from (slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))
