"""Several scores become one: percentiles within the pool, then a weighted mean over the scores a frame has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray

Scaling = Literal["percentile", "minmax"]


@dataclass(frozen=True)
class Component:
    """One score over the whole pool.

    raw      (n,) in ``unit``, higher = label first; NaN or infinite = nothing can be said about the frame
    weight   share in the fused score, >= 0; 0 = recorded but not counted
    support  (n,) number of valid terms behind ``raw``, None = not known
    """

    name: str
    raw: FloatArray
    weight: float = 1.0
    unit: str = "1"
    support: IntArray | None = None

    def __post_init__(self) -> None:
        if self.raw.ndim != 1:
            raise BadInputError(f"score {self.name!r}: raw must have shape (n,), got {self.raw.shape}")
        if self.support is not None and self.support.shape != self.raw.shape:
            raise BadInputError(f"score {self.name!r}: support must have shape {self.raw.shape}, got {self.support.shape}")
        if not (np.isfinite(self.weight) and self.weight >= 0):
            raise BadInputError(f"score {self.name!r}: the weight must be a finite number >= 0, got {self.weight}")


@dataclass(frozen=True)
class Fused:
    """The fused score of every frame and what it is made of.

    total       (n,) in [0, 1], higher = label first; NaN = no counted score says anything ("unscored")
    scaled      (S, n) each component on the common scale, NaN where it says nothing
    components  S components, in the order of ``scaled``
    """

    total: FloatArray
    scaled: FloatArray
    components: tuple[Component, ...]

    @property
    def unscored(self) -> BoolArray:
        """(n,) True where nothing can be said; such frames are ranked by diversity alone."""
        return np.isnan(self.total)


def percentiles(raw: FloatArray) -> FloatArray:
    """(n,) mid-rank percentile in (0, 1) of each finite value among the finite values; equal values share theirs.

    (number below + half the number equal, itself included) / number of finite values.  Non-finite values give NaN.
    """
    if raw.ndim != 1:
        raise BadInputError(f"percentiles: expected one value for each frame, shape (n,), got {raw.shape}")
    result = np.full(raw.shape, np.nan)
    finite = np.flatnonzero(np.isfinite(raw))
    if not len(finite):
        return result
    result[finite] = (stats.rankdata(raw[finite]) - 0.5) / len(finite)
    return result


def min_max(raw: FloatArray) -> FloatArray:
    """(n,) finite values stretched to [0, 1]; 0.5 where all are equal, NaN where a value is not finite."""
    finite = np.isfinite(raw)
    result = np.full(raw.shape, np.nan)
    if finite.any():
        # Halving first keeps the span of two huge values of opposite sign finite.
        half = 0.5 * raw[finite]
        low, high = half.min(), half.max()
        result[finite] = (half - low) / (high - low) if high > low else 0.5
    return result


_SCALINGS = {"percentile": percentiles, "minmax": min_max}


def fuse(components: Sequence[Component], n: int, scaling: Scaling = "percentile") -> Fused:
    """Weighted mean over the scores that each frame has: C = sum(w * scaled) / sum(w).

    ``n`` is the size of the pool.  ``scaling="minmax"``, with a final ``min_max`` of the total, is that of VATL4Pose's released
    code; the paper does not say how scores are scaled.

    Raises BadInputError when a component has another length or a name appears twice.
    """
    if scaling not in _SCALINGS:
        raise BadInputError(f"fusion: expected a scaling among {', '.join(_SCALINGS)}, got {scaling!r}")
    names = [component.name for component in components]
    for component in components:
        if component.raw.shape != (n,):
            raise BadInputError(f"score {component.name!r}: expected one value for each of {n} frames, got {component.raw.shape}")
        if names.count(component.name) > 1:
            raise BadInputError(f"score {component.name!r} is listed twice; every score may be fused once")
    scaled = np.full((len(components), n), np.nan)
    weighted, weights = np.zeros(n), np.zeros(n)
    for row, component in enumerate(components):
        scaled[row] = _SCALINGS[scaling](component.raw)
        present = ~np.isnan(scaled[row])
        weighted += component.weight * np.where(present, scaled[row], 0.0)
        weights += component.weight * present
    total = np.divide(weighted, weights, out=np.full(n, np.nan), where=weights > 0)
    return Fused(total, scaled, tuple(components))
