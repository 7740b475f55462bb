"""Scores that compare a frame with the one before and the one after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from label_config.values import BoolArray, FloatArray, IntArray
from label_config.values.masked import masked_mean
from label_config.values.prediction import Output
from ml_backend.acquisition.score import Chunk, Context, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import NothingToLearn, crop_side_px, mean_of_keypoints, mean_of_views, nothing

#: Displacement, relative to the square root of the crop's area, above which VATL4Pose's code counts a keypoint as moved.
RELEASED_MOTION = 0.01


def linked(chunk: Chunk) -> BoolArray:
    """(n,) True where a frame may be compared with its predecessor in the array.

    Without ``chunk.gap`` only consecutive frame numbers are neighbours.  The first entry has no predecessor and means nothing.
    """
    broken = chunk.gap if chunk.gap is not None else np.diff(chunk.index, prepend=chunk.index[:1]) != 1
    return ~broken


def to_neighbours(to_previous: FloatArray, core: slice | IntArray) -> FloatArray:
    """(n, ...) distance to the predecessor → (2, c, ...) distance to predecessor and to successor, NaN = no neighbour."""
    to_next = np.concatenate([to_previous[1:], np.full((min(len(to_previous), 1), *to_previous.shape[1:]), np.nan)])
    return np.stack([to_previous[core], to_next[core]])


def _step(values: FloatArray, joined: BoolArray) -> FloatArray:
    """(n, ..., d) → (n, ...) Euclidean distance to the predecessor, NaN where there is none."""
    distance = np.full(values.shape[:-1], np.nan)
    if len(values) > 1:
        distance[1:] = np.linalg.norm(values[1:] - values[:-1], axis=-1)
    distance[~joined] = np.nan
    return distance


@dataclass(frozen=True)
class TemporalPoseChange(NothingToLearn):
    """Mean displacement of a point to the previous and the next frame (TPC).

    With one neighbour that displacement alone counts, with none there is no term; where a frame of the recording is missing, it
    is the displacement per usual step.  Displacements below ``dead_zone_px``
    count as 0.  ``mode="paper"`` is as printed: the sum over keypoints of the displacements to the previous and to the next
    frame, in pixels.  ``mode="released"`` is the code of VATL4Pose: the number of keypoints that moved by more than 1 % of the
    square root of the crop's area.  Both add previous and next, and double the one that exists where there is only one.
    """

    dead_zone_px: float = 0.0
    mode: Literal["fixed", "paper", "released"] = "fixed"

    name: ClassVar[str] = "tpc"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.NEIGHBOURS})
    halo: ClassVar[int] = 1
    source: ClassVar[str] = "Mori et al. 2022; dead zone after Biderman et al. 2024"

    @property
    def unit(self) -> str:
        """Pixels, or keypoints in released mode."""
        return "keypoints" if self.mode == "released" else "px"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over keypoints and views (paper and released mode: sum over keypoints, mean over views)."""
        to_previous = _step(chunk.xy_px, linked(chunk))
        steps = to_neighbours(to_previous / _per_step(chunk) if self.mode == "fixed" else to_previous, chunk.core)
        if self.mode == "released":
            steps = np.where(np.isfinite(steps), steps > RELEASED_MOTION * crop_side_px(chunk)[..., None], np.nan)
        if self.mode != "fixed":
            return mean_of_views(2 * masked_mean(steps, axis=0)[0], sum_keypoints=True)
        steps = np.where(steps < self.dead_zone_px, 0.0, steps)
        return mean_of_views(masked_mean(steps, axis=0)[0])


def _per_step(chunk: Chunk) -> FloatArray:
    """(n, 1, 1) usual steps of the recording from a frame's predecessor in the array to it; 1 where that is not known."""
    if chunk.step is None:
        return np.ones((len(chunk.index), 1, 1))
    return (np.diff(chunk.index, prepend=chunk.index[:1] - 1) / chunk.step)[:, None, None]


@dataclass(frozen=True)
class TemporalHeatmapContinuity(NothingToLearn):
    """Sum of absolute differences of a heatmap with those of the frames before and after (THC).

    Each frame keeps the crop of its own box, so motion of the whole body does not count.  Previous plus next, doubled when
    only one exists, no term without a neighbour.  For two Gaussian blobs of height 1 that lie δ apart one difference is
    4πσ²·erf(δ / (2√2·σ)).
    """

    name: ClassVar[str] = "thc"
    unit: ClassVar[str] = "heatmap L1"
    requires: ClassVar[frozenset[Need]] = frozenset({Output.HEATMAPS, Context.NEIGHBOURS})
    halo: ClassVar[int] = 1
    source: ClassVar[str] = "Taketsugu & Ukita 2024, eq. 7"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over keypoints and views."""
        if Output.HEATMAPS not in chunk.outputs:
            return nothing(chunk)
        distance = _heatmap_step(chunk)
        return mean_of_views(2 * masked_mean(to_neighbours(distance, chunk.core), axis=0)[0])


def _heatmap_step(chunk: Chunk) -> FloatArray:
    """(n, V, K) sum of absolute differences to the predecessor, NaN where there is none."""
    heatmaps = chunk.outputs[Output.HEATMAPS]
    distance = np.full(heatmaps.shape[:3], np.nan)
    for k in range(heatmaps.shape[2]):  # one keypoint at a time keeps the temporary small
        maps = heatmaps[:, :, k]
        with np.errstate(invalid="ignore"):  # inf - inf of a broken map: no term
            distance[1:, :, k] = np.abs(maps[1:] - maps[:-1]).sum(axis=(-2, -1), dtype=np.float64)
    distance[~linked(chunk)] = np.nan
    return distance


@dataclass(frozen=True)
class Jitter3D(NothingToLearn):
    """Distance of a triangulated point from where steady motion between its two neighbours in time puts it.

    That is their middle, or nearer to the nearer one where a frame is missing between them.  Fast frames are not punished; a
    point that jumps forth and back stands out.  Needs both neighbours.
    """

    name: ClassVar[str] = "jitter_3d"
    unit: ClassVar[str] = "world unit"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.RIG, Context.NEIGHBOURS})
    halo: ClassVar[int] = 1
    source: ClassVar[str] = "second difference of the triangulated track"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over keypoints."""
        if chunk.triangulated is None:
            return nothing(chunk)
        xyz = chunk.triangulated.xyz_world
        distance = np.full(xyz.shape[:2], np.nan)
        if len(xyz) > 2:
            share = ((chunk.index[1:-1] - chunk.index[:-2]) / (chunk.index[2:] - chunk.index[:-2]))[:, None, None]
            distance[1:-1] = np.linalg.norm(xyz[1:-1] - (1 - share) * xyz[:-2] - share * xyz[2:], axis=-1)
            joined = linked(chunk)
            distance[1:-1][~(joined[1:-1] & joined[2:])] = np.nan
        return mean_of_keypoints(distance[chunk.core], chunk.xy_px.shape[1])
