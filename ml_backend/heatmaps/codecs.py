"""Heatmap codecs: keypoint coordinates → training targets, network output → keypoint coordinates.

Coordinates are heatmap pixels with the origin at the centre of the top-left cell, x right, y down; how they relate
to image pixels is the business of :mod:`ml_backend.heatmaps.crops`.  ``size_hm`` is (h, w).

``encode(xy_hm (n, K, 2), size_hm, mask (n, K) | None) -> (targets float32, weight (n, K) float32)``
    NaN coordinates, a mask of 0 and points whose Gaussian lies wholly outside the map get an empty target of weight 0.
    Other weights are the mask's.
``decode(output) -> (xy_hm (n, K, 2) float64, confidence (n, K) float64 in [0, 1])``
    Confidence is the height of the maximum relative to the training amplitude.  A map without a finite positive
    maximum gives NaN coordinates and confidence 0.

==========  ===============================  ===========================================  =====================
codec       target                           refinement of the largest cell               paper
==========  ===============================  ===========================================  =====================
MSRA        centre rounded to a cell, ±3σ    a quarter cell toward the larger neighbour   Xiao et al. 2018
DARK        unrounded centre, whole map      blur, log, Taylor with ±2 second derivative  Zhang et al. 2020
UDP         unrounded centre, ±3σ            blur, log, Taylor with ±1 stencils           Huang et al. 2020
SimCC       one vector for x, one for y      none                                         Li et al. 2022
==========  ===============================  ===========================================  =====================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from label_config.values import BadInputError, Float32Array, FloatArray, IntArray
from ml_backend.heatmaps.subpixel import (
    blur_kernel_size,
    blurred_neighbourhood,
    interior,
    neighbourhood,
    taylor_step_narrow,
    taylor_step_wide,
)

#: Half width of a target in standard deviations.
_REACH_SIGMA = 3.0


class Codec(Protocol):
    """What every codec can do."""

    name: ClassVar[str]

    def encode(
        self, xy_hm: FloatArray, size_hm: tuple[int, int], mask: FloatArray | None = None
    ) -> tuple[Float32Array, Float32Array]:
        """Targets and weight, see the module."""
        ...

    def decode(self, output: Float32Array) -> tuple[FloatArray, FloatArray]:
        """Coordinates and confidence, see the module."""
        ...


@dataclass(frozen=True)
class _GaussianCodec(ABC):
    """What the codecs with one two-dimensional map per keypoint share.

    sigma      standard deviation of the target in heatmap pixels (2 for maps of 48×64 and 64×64, 3 for 72×96)
    amplitude  height of the target (1; VL4Pose trains with 30)
    """

    sigma: float = 2.0
    amplitude: float = 1.0

    name: ClassVar[str]

    def __post_init__(self) -> None:
        _expect_positive(f"{self.name} codec", sigma=self.sigma, amplitude=self.amplitude)

    def encode(
        self, xy_hm: FloatArray, size_hm: tuple[int, int], mask: FloatArray | None = None
    ) -> tuple[Float32Array, Float32Array]:
        """Targets (n, K, h, w) and weight (n, K), see the module."""
        if min(size_hm) < 1:
            raise BadInputError(f"{self.name} encode: expected size_hm (h, w) of at least one cell, got {size_hm}")
        xy, given = _checked_points(xy_hm, mask)
        centre = self._centre(xy)
        # One Gaussian is the outer product of two vectors: h + w exponentials instead of h · w.
        rows, row_meets = self._profile(centre[..., 1], size_hm[0])
        columns, column_meets = self._profile(centre[..., 0], size_hm[1])
        weight = (given * row_meets * column_meets).astype(np.float32)
        rows *= (self.amplitude * (weight > 0)).astype(np.float32)[..., None]
        return rows[..., :, None] * columns[..., None, :], weight

    def _profile(self, centre: FloatArray, length: int) -> tuple[Float32Array, FloatArray]:
        """(n, K, length) Gaussian along one axis, and 1 where its ±3σ meet the map, else 0 (also for NaN)."""
        reach = _REACH_SIGMA * self.sigma
        cell = np.arange(length)
        with np.errstate(over="ignore"):  # a point so far out that its square overflows lies outside the map anyway
            value = np.exp(-0.5 * ((cell - centre[..., None]) / self.sigma) ** 2)
        box = np.floor(centre + 0.5)
        meets = (box + reach >= 0) & (box - reach <= length - 1)
        if self._truncated():
            value[np.abs(cell - box[..., None]) > reach] = 0
        return np.where(meets[..., None], value, 0.0).astype(np.float32), meets.astype(np.float64)

    def decode(self, output: Float32Array) -> tuple[FloatArray, FloatArray]:
        """Coordinates (n, K, 2) and confidence (n, K) of maps (n, K, h, w), see the module."""
        if output.ndim != 4 or 0 in output.shape[2:]:
            raise BadInputError(f"{self.name} decode: expected heatmaps of shape (n, K, h, w) with h, w > 0, got {output.shape}")
        n, keypoints, h, w = output.shape
        maps = output.reshape(n * keypoints, h, w)
        cell, peak = largest_cell(maps)
        usable = np.isfinite(peak) & (peak > 0)
        xy = np.full((len(maps), 2), np.nan)
        if usable.any():
            chosen = maps if usable.all() else maps[usable]
            xy[usable] = cell[usable] + self._step(chosen, cell[usable])
        confidence = np.where(usable, np.clip(peak / self.amplitude, 0, 1), 0.0)
        return xy.reshape(n, keypoints, 2), confidence.reshape(n, keypoints)

    @abstractmethod
    def _centre(self, xy: FloatArray) -> FloatArray: ...

    @abstractmethod
    def _truncated(self) -> bool: ...

    @abstractmethod
    def _step(self, maps: Float32Array, cell: IntArray) -> FloatArray:
        """(m, 2) from the largest cell of (m, h, w) maps to the sub-pixel maximum."""


@dataclass(frozen=True)
class MSRA(_GaussianCodec):
    """SimpleBaseline's and HRNet's codec: rounded centre, quarter-cell decoding; off by up to half a cell."""

    name: ClassVar[str] = "msra"

    def _centre(self, xy: FloatArray) -> FloatArray:
        return np.floor(xy + 0.5)

    def _truncated(self) -> bool:
        return True

    def _step(self, maps: Float32Array, cell: IntArray) -> FloatArray:
        around = neighbourhood(maps, cell, 1)
        slope = np.stack([around[:, 1, 2] - around[:, 1, 0], around[:, 2, 1] - around[:, 0, 1]], axis=-1)
        return np.where(interior(cell, maps, 1, 1)[:, None], 0.25 * np.sign(slope), 0.0)


@dataclass(frozen=True)
class DARK(_GaussianCodec):
    """Distribution-aware codec: unrounded centre; Taylor expansion of the blurred log-heatmap (§3.2, eq. 6–9 there)."""

    name: ClassVar[str] = "dark"

    def _centre(self, xy: FloatArray) -> FloatArray:
        return xy

    def _truncated(self) -> bool:
        return False

    def _step(self, maps: Float32Array, cell: IntArray) -> FloatArray:
        around = blurred_neighbourhood(maps, cell, blur_kernel_size(self.sigma), 2) / self.amplitude
        step = taylor_step_wide(np.log(np.maximum(around, 1e-10)))
        return np.where(interior(cell, maps, 1, 2)[:, None], step, 0.0)


@dataclass(frozen=True)
class UDP(_GaussianCodec):
    """Unbiased data processing: as DARK with ±1 stencils, everywhere in the map; belongs to ``CropTransform(grid="udp")``."""

    name: ClassVar[str] = "udp"

    def _centre(self, xy: FloatArray) -> FloatArray:
        return xy

    def _truncated(self) -> bool:
        return True

    def _step(self, maps: Float32Array, cell: IntArray) -> FloatArray:
        around = blurred_neighbourhood(maps, cell, blur_kernel_size(self.sigma), 1) / self.amplitude
        h, w = maps.shape[1:]
        # Beyond the border the values of the border are repeated.
        offset = np.arange(-1, 2)
        col = np.clip(cell[:, :1] + offset, 0, w - 1) - cell[:, :1] + 1
        row = np.clip(cell[:, 1:] + offset, 0, h - 1) - cell[:, 1:] + 1
        around = around[np.arange(len(maps))[:, None, None], row[:, :, None], col[:, None, :]]
        return taylor_step_narrow(np.log(np.clip(around, 1e-3, 50.0)))


@dataclass(frozen=True)
class SimCC:
    """Two one-dimensional classifications per keypoint.

    Targets and output are (n, K, L): the x vector followed by the y vector, :meth:`split` takes them apart.

    size_hm    (h, w) of the coordinate grid, usually that of the network's input
    ratio      bins per pixel
    sigma      standard deviation in bins, (x, y) or one for both
    amplitude  height of the target
    """

    size_hm: tuple[int, int]
    ratio: float = 2.0
    sigma: float | tuple[float, float] = 6.0
    amplitude: float = 1.0

    name: ClassVar[str] = "simcc"

    def __post_init__(self) -> None:
        sx, sy = self._sigmas
        _expect_positive("simcc codec", ratio=self.ratio, sigma=min(sx, sy), amplitude=self.amplitude)

    @property
    def _sigmas(self) -> tuple[float, float]:
        return self.sigma if isinstance(self.sigma, tuple) else (self.sigma, self.sigma)

    @property
    def lengths(self) -> tuple[int, int]:
        """Bins of the x and of the y vector."""
        h, w = self.size_hm
        return round(w * self.ratio), round(h * self.ratio)

    def encode(
        self, xy_hm: FloatArray, size_hm: tuple[int, int], mask: FloatArray | None = None
    ) -> tuple[Float32Array, Float32Array]:
        """Targets (n, K, Lx + Ly) and weight (n, K), see the module."""
        if tuple(size_hm) != tuple(self.size_hm):
            raise BadInputError(f"simcc encode: this codec was made for size_hm {self.size_hm}, got {size_hm}")
        xy, weight = _checked_points(xy_hm, mask)
        vectors = []
        for axis, (length, sigma) in enumerate(zip(self.lengths, self._sigmas, strict=True)):
            centre = xy[..., axis] * self.ratio
            reach = _REACH_SIGMA * sigma
            weight = weight * ((centre + reach >= 0) & (centre - reach <= length - 1))
            with np.errstate(over="ignore"):
                vectors.append(self.amplitude * np.exp(-0.5 * ((np.arange(length) - centre[..., None]) / sigma) ** 2))
        target = np.where(weight[..., None] > 0, np.concatenate(vectors, axis=-1), 0.0)
        return target.astype(np.float32), weight.astype(np.float32)

    def split(self, vectors: Float32Array) -> tuple[Float32Array, Float32Array]:
        """(…, Lx) and (…, Ly): the two marginals that peak scores work on."""
        across, down = self.lengths
        if vectors.shape[-1] != across + down:
            raise BadInputError(f"simcc: expected a last axis of {across} + {down} bins, got {vectors.shape[-1]}")
        return vectors[..., :across], vectors[..., across:]

    def decode(self, output: Float32Array) -> tuple[FloatArray, FloatArray]:
        """Coordinates (n, K, 2) and confidence (n, K), the smaller of the two maxima, see the module."""
        halves = self.split(output)
        xy = np.stack([half.argmax(axis=-1) for half in halves], axis=-1) / self.ratio
        peak = np.minimum(halves[0].max(axis=-1), halves[1].max(axis=-1)).astype(np.float64)
        usable = np.isfinite(peak) & (peak > 0)
        return np.where(usable[..., None], xy, np.nan), np.where(usable, np.clip(peak / self.amplitude, 0, 1), 0.0)


def largest_cell(maps: Float32Array) -> tuple[IntArray, FloatArray]:
    """Column and row (m, 2) of the largest value of (m, h, w) maps, and that value (m,); ties go to the first in raster order."""
    flat = maps.reshape(len(maps), maps.shape[1] * maps.shape[2])
    best = flat.argmax(axis=1)
    row, col = np.divmod(best, maps.shape[2])
    return np.stack([col, row], axis=-1).astype(np.int64), flat[np.arange(len(flat)), best].astype(np.float64)


_CODECS: dict[str, Any] = {codec.name: codec for codec in (MSRA, DARK, UDP, SimCC)}


def make_codec(name: str, **params: Any) -> Codec:
    """The codec called ``name`` ("msra", "dark", "udp", "simcc").  Raises BadInputError for an unknown name or parameter."""
    if name not in _CODECS:
        raise BadInputError(f"codec: expected one of {', '.join(_CODECS)}, got {name!r}")
    try:
        codec: Codec = _CODECS[name](**params)
    except TypeError as error:
        raise BadInputError(f"codec {name!r}: parameters {sorted(params)} do not fit ({error})") from error
    return codec


def _expect_positive(what: str, **values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise BadInputError(f"{what}: {name} must be a positive number, got {value!r}")


def _checked_points(xy_hm: FloatArray, mask: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """float64 points, and the mask with 0 where a coordinate is not finite."""
    xy = np.asarray(xy_hm, dtype=np.float64)
    if xy.ndim != 3 or xy.shape[2] != 2:
        raise BadInputError(f"encode: expected xy_hm of shape (n, K, 2), got {xy.shape}")
    weight = np.ones(xy.shape[:2]) if mask is None else np.asarray(mask, dtype=np.float64)
    if weight.shape != xy.shape[:2]:
        raise BadInputError(f"encode: expected a mask of shape {xy.shape[:2]}, got {weight.shape}")
    finite = np.asarray(np.isfinite(xy).all(axis=-1))
    return np.where(finite[..., None], xy, np.nan), np.where(finite, weight, 0.0)
