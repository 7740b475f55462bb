"""From a hypothesis and the views that agree with it to the point of least reprojection error, with everything reported.

A Gauss–Newton step is followed by one or two that reuse its normal matrix (*chord* steps), after which almost all points stand
still; only the others go on.  The normal matrix that is reported is computed anew, at the point that is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from label_config.values import BoolArray, FloatArray, IntArray
from ml_backend.geometry.consensus import Observations
from ml_backend.geometry.normalised import NormalisedRig, invert

_ROUNDS = 3
#: Error at which points are where they should be, in camera distances: a millionth of a pixel.
_NEAR = 2e-10
#: A lens polynomial may fold far-away points back onto an observation; ideal and distorted error must agree to this factor.
_FOLD_FACTOR = 3.0


@dataclass(frozen=True)
class Tile:
    """Observations of the points of one tile, (V, M) each or (2, V, M).

    xy_px    as given, distorted pixels, (2, V, M)
    uv       normalised image coordinates, (2, V, M), ``normalised.NOWHERE`` where missing
    scale    distorted pixels per normalised unit, 0 where missing;  weight its square
    limit    threshold in distorted pixels
    present  the view has the point
    usable   and its lens can have produced it: there is a ray
    """

    xy_px: FloatArray
    uv: FloatArray
    scale: FloatArray
    weight: FloatArray
    limit: FloatArray
    present: BoolArray
    usable: BoolArray

    @classmethod
    def observed(cls, rig: NormalisedRig, xy_px: FloatArray, limit: FloatArray) -> Tile:
        """From distorted pixels (2, V, M), NaN = none."""
        uv, scale = rig.observe(xy_px)
        usable = scale > 0
        present = usable if usable.all() else np.asarray(np.isfinite(xy_px).all(axis=0))
        return cls(xy_px, uv, scale, scale * scale, limit, present, usable)

    @property
    def seen(self) -> Observations:
        """What the search for a consensus needs."""
        tightness = self.scale / self.limit
        tightness *= tightness
        if not self.usable.all():
            tightness[~self.usable] = 1.0
        return Observations(self.uv, self.weight, tightness, self.usable)

    def take(self, columns: IntArray) -> Tile:
        """These points alone."""
        return Tile(**{field.name: getattr(self, field.name).take(columns, axis=-1) for field in fields(self)})


@dataclass(frozen=True)
class Solution:
    """Points of a tile and all that is known about them.

    x            (3, M) normalised world
    inlier       (V, M) agreeing views, none where ``agreed`` is False
    residual_px  (V, M) exact distance in distorted pixels, see :func:`exact_residuals`; NaN = no observation
    inverse      (6, M) inverse normal matrix of the used views, NaN where singular
    used         (V, M) the inliers; all views with a point where ``agreed`` is False
    agreed       (M,) two views or more agree
    """

    x: FloatArray
    inlier: BoolArray
    residual_px: FloatArray
    inverse: FloatArray
    used: BoolArray
    agreed: BoolArray


@dataclass(frozen=True)
class _Residuals:
    """Points and how they look in every view; see :class:`Solution`, and :meth:`NormalisedRig.image` for the last two."""

    x: FloatArray
    inlier: BoolArray
    residual_px: FloatArray
    ab: FloatArray
    inverse_depth: FloatArray

    def put(self, columns: IntArray, other: _Residuals) -> None:
        """Replace these points."""
        for field in fields(self):
            getattr(self, field.name)[..., columns] = getattr(other, field.name)


def settle(rig: NormalisedRig, tile: Tile, hypothesis: FloatArray, agree: BoolArray, fallback: FloatArray) -> Solution:
    """Refine on the agreeing views (V, M), determine them anew, refine again where they are others.

    hypothesis  (3, M) where to begin; a point that would lose agreeing views stays there
    fallback    (3, M) the point where no two views agree
    """
    best = exact_residuals(rig, tile, minimise(rig, tile.weight * agree, tile.uv, hypothesis))
    changed = np.flatnonzero((best.inlier != agree).any(axis=0))
    if changed.size:
        part = tile.take(changed)
        again = exact_residuals(rig, part, minimise(rig, part.weight * best.inlier[:, changed], part.uv, best.x[:, changed]))
        worse = again.inlier.sum(axis=0) < agree[:, changed].sum(axis=0)
        if worse.any():
            again = exact_residuals(rig, part, np.where(worse, hypothesis[:, changed], again.x))
        best.put(changed, again)
    agreed = best.inlier.sum(axis=0) >= 2
    lost = np.flatnonzero(~agreed)
    used = best.inlier
    if lost.size:
        best.put(lost, exact_residuals(rig, tile.take(lost), fallback[:, lost]))
        best.inlier[:, lost] = False
        used = np.where(agreed, best.inlier, tile.usable)
    inverse = invert(rig.information(best.ab, best.inverse_depth, tile.weight * used))
    return Solution(best.x, best.inlier, best.residual_px, inverse, used, agreed)


def minimise(rig: NormalisedRig, weight: FloatArray, uv: FloatArray, start: FloatArray, rounds: int = _ROUNDS) -> FloatArray:
    """(3, M) least weighted reprojection error from ``start``; weight (V, M), 0 leaves an observation out."""
    step, inverse = rig.gauss_newton(start, weight, uv)
    x: FloatArray = start + step
    chord = rig.chord(x, inverse, weight, uv)
    x += chord
    moving = _moving(step, chord)
    if moving.size:
        near, inverse, weight, uv = (array.take(moving, axis=-1) for array in (x, inverse, weight, uv))
        step, chord = chord.take(moving, axis=1), rig.chord(near, inverse, weight, uv)
        near += chord
        still = _moving(step, chord)
        if still.size and rounds > 1:
            weight, uv, start = (array.take(still, axis=-1) for array in (weight, uv, near))
            near[:, still] = minimise(rig, weight, uv, start, rounds - 1)
        x[:, moving] = near
    return x


def _moving(step: FloatArray, chord: FloatArray) -> IntArray:
    """Columns that are not there yet: steps shrink by a constant factor, so after two of them |chord|² / |step| is left to go."""
    return np.flatnonzero((chord * chord).sum(axis=0) > _NEAR * np.sqrt((step * step).sum(axis=0)))


def exact_residuals(rig: NormalisedRig, tile: Tile, x: FloatArray) -> _Residuals:
    """Exact residuals in distorted pixels, and where they are below the limit in front of the camera.

    A view that has a point which it cannot have seen there contradicts the others, and its residual says so: where the lens
    cannot have produced the point, the distance from the projection; where there is no projection either (the place lies behind
    the camera, or beyond the reach of the lens model, or is not known), the diagonal of the picture.
    """
    ab, inverse_depth = rig.image(x)
    error = ab - tile.uv
    error *= error
    residual = error[0] + error[1]
    np.sqrt(residual, out=residual)
    residual *= tile.scale
    inlier = residual < tile.limit
    for i in rig.bent:
        exact = np.hypot(*(rig.distorted(i, ab[:, i]) - tile.xy_px[:, i]))
        inlier[i] = (exact < tile.limit[i]) & (residual[i] < _FOLD_FACTOR * tile.limit[i]) & tile.usable[i]
        residual[i] = exact
    ahead = inverse_depth > 0
    inlier &= ahead
    if not tile.usable.all():
        residual[~tile.present], inlier[~tile.usable] = np.nan, False
    nowhere = tile.present & ~(ahead & np.isfinite(residual))
    if nowhere.any():
        _state_contradictions(rig, tile, x, nowhere, residual)
    return _Residuals(x, inlier, residual, ab, inverse_depth)


def _state_contradictions(rig: NormalisedRig, tile: Tile, x: FloatArray, nowhere: BoolArray, residual: FloatArray) -> None:
    """Residuals (V, M) of points ``nowhere`` near a projection of ``x``, in place; NaN where there is only one view."""
    known = np.isfinite(x).all(axis=0)
    several = tile.present.sum(axis=0) >= 2
    stated = nowhere & (known | (several & ~tile.usable))
    residual[nowhere] = np.nan
    np.copyto(residual, np.broadcast_to(rig.diagonal, residual.shape), where=stated)
