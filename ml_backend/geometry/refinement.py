"""From a hypothesis and the views that agree with it to the point of least reprojection error, with everything reported.

Most points have converged after one Gauss–Newton step from the linear solution; each stays in the iteration only as long as it
still moves.  A last step reuses the normal matrix (a *chord* step).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from label_config.values import BoolArray, FloatArray, IntArray
from ml_backend.geometry.consensus import Observations
from ml_backend.geometry.normalised import NormalisedRig, invert

_STEPS = 4
#: A step shorter than this (in camera distances) leaves the normal matrix as it is, and an error far below the noise.
_NEAR = 1e-5
#: A lens polynomial may fold far-away points back onto an observation; ideal and distorted error must agree to this factor.
_FOLD_FACTOR = 3.0


@dataclass(frozen=True)
class Tile:
    """Observations of the points of one tile, (V, M) each.

    x_px, y_px  as given, distorted pixels
    u, v        normalised image coordinates, ``normalised.NOWHERE`` where missing
    scale       distorted pixels per normalised unit, 0 where missing;  weight its square
    limit       threshold in distorted pixels
    present     the view has the point
    """

    x_px: FloatArray
    y_px: FloatArray
    u: FloatArray
    v: FloatArray
    scale: FloatArray
    weight: FloatArray
    limit: FloatArray
    present: BoolArray

    @classmethod
    def observed(cls, rig: NormalisedRig, x_px: FloatArray, y_px: FloatArray, limit: FloatArray) -> Tile:
        """From distorted pixels, NaN = none."""
        u, v, scale = rig.observe(x_px, y_px)
        return cls(x_px, y_px, u, v, scale, scale * scale, limit, scale > 0)

    @property
    def seen(self) -> Observations:
        """What the search for a consensus needs."""
        tightness = self.scale / self.limit
        tightness *= tightness
        if not self.present.all():
            tightness[~self.present] = 1.0
        return Observations(self.u, self.v, tightness, self.present)

    def take(self, columns: IntArray) -> Tile:
        """These points alone."""
        return Tile(**{field.name: getattr(self, field.name).take(columns, axis=1) for field in fields(self)})


@dataclass(frozen=True)
class Solution:
    """Points of a tile and all that is known about them.

    x            (3, M) normalised world
    inlier       (V, M) agreeing views, none where ``agreed`` is False
    residual_px  (V, M) exact distance in distorted pixels, NaN = no observation
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


def settle(rig: NormalisedRig, tile: Tile, hypothesis: FloatArray, agree: BoolArray, fallback: FloatArray) -> Solution:
    """Refine on the agreeing views (V, M), determine them anew, refine again where they are others.

    hypothesis  (3, M) where to begin; a point that would lose agreeing views stays there
    fallback    (3, M) the point where no two views agree
    """
    x, inverse = minimise(rig, tile, hypothesis, agree)
    residual, inlier = judge(rig, tile, x)
    used = agree.copy()
    changed = np.flatnonzero((inlier != agree).any(axis=0))
    if changed.size:
        part, before = tile.take(changed), agree[:, changed].sum(axis=0)
        used[:, changed] = inlier[:, changed]
        again, inverse[:, changed] = minimise(rig, part, x[:, changed], inlier[:, changed])
        error, near = judge(rig, part, again)
        worse = near.sum(axis=0) < before
        if worse.any():
            again[:, worse] = hypothesis[:, changed[worse]]
            error, near = judge(rig, part, again)
        x[:, changed], residual[:, changed], inlier[:, changed] = again, error, near
    agreed = inlier.sum(axis=0) >= 2
    lost = np.flatnonzero(~agreed)
    if lost.size:
        x[:, lost], inlier[:, lost] = fallback[:, lost], False
        residual[:, lost], _ = judge(rig, tile.take(lost), x[:, lost])
    final = inlier if agreed.all() else np.where(agreed, inlier, tile.present)
    stale = np.union1d(np.flatnonzero((final != used).any(axis=0)), lost)
    if stale.size:
        inverse[:, stale] = invert(rig.information(x[:, stale], tile.weight[:, stale] * final[:, stale]))
    return Solution(x, inlier, residual, inverse, final, agreed)


def minimise(rig: NormalisedRig, tile: Tile, start: FloatArray, used: BoolArray) -> tuple[FloatArray, FloatArray]:
    """(3, M) least reprojection error over the used views (V, M), from ``start``; (6, M) the inverse normal matrix there."""
    weight, u, v = tile.weight * used, tile.u, tile.v
    step, inverse = rig.gauss_newton(start, weight, u, v)
    x = start + step
    moving = np.arange(x.shape[1])
    for _ in range(_STEPS - 1):
        far = np.abs(step).max(axis=0) > _NEAR
        if not far.any():
            break
        moving = moving[far]
        step, inverse[:, moving] = rig.gauss_newton(*(array.take(moving, axis=1) for array in (x, weight, u, v)))
        x[:, moving] += step
    x += rig.chord(x, inverse, weight, u, v)
    return x, inverse


def judge(rig: NormalisedRig, tile: Tile, x: FloatArray) -> tuple[FloatArray, BoolArray]:
    """(V, M) exact residuals in distorted pixels, and where they are below the limit in front of the camera."""
    a, b, inverse_depth = rig.image(x)
    seen = [rig.distorted(i, a[i], b[i]) for i in rig.bent]
    a -= tile.u
    b -= tile.v
    a *= a
    b *= b
    a += b
    residual = np.sqrt(a, out=a)
    residual *= tile.scale
    inlier = residual < tile.limit
    for i, (x_px, y_px) in zip(rig.bent, seen, strict=True):
        exact = np.hypot(x_px - tile.x_px[i], y_px - tile.y_px[i])
        inlier[i] = (exact < tile.limit[i]) & (residual[i] < _FOLD_FACTOR * tile.limit[i])
        residual[i] = exact
    inlier &= inverse_depth > 0
    if not tile.present.all():
        residual[~tile.present], inlier[~tile.present] = np.nan, False
    return residual, inlier
