"""The place of a point on one camera's viewing ray, where the points of the other cameras put it.

A click in one view leaves one number open: how far along its ray the point lies.  Every other view's point proposes the place on
the ray that is nearest to its own ray; the best of these is refined.  Each view counts by a bounded loss (Geman and McClure),
``e² / (e² + limit²)``, so that a point that lies far from the ray can neither decide nor be averaged in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from label_config.values import BoolArray, FloatArray
from ml_backend.geometry.cameras import Rig

#: Steps of the refinement; it is over earlier when a step is shorter than _STILL of the distance.
_STEPS = 10
_STILL = 1e-9
#: Change of the distance, as a share of it, over which the projections' derivative is taken.
_DIFFERENCE = 1e-6
#: sine² of the angle below which two rays are too parallel to say how far the point is (1°).
_PARALLEL = float(np.sin(np.radians(1.0)) ** 2)


class PlaceOnRay(NamedTuple):
    """xyz_world (3,); off_px (V,) distance of each view's point from its projection, NaN = no point there."""

    xyz_world: FloatArray
    off_px: FloatArray


def best_on_ray(rig: Rig, view: int, xy_px: FloatArray, others_px: FloatArray, limit_px: FloatArray) -> PlaceOnRay | None:
    """Where the point lies that view ``view`` shows at ``xy_px`` (2,), distorted pixels.

    others_px  (V, 2) what the views show, NaN = nothing; that of ``view`` itself is not used
    limit_px   (V,) scale of the loss

    None where no other view has a point, or none that meets the ray in front of both cameras at more than 1°.
    """
    camera = rig.cameras[view]
    start, direction = camera.centre, camera.rays(xy_px)
    present: BoolArray = np.asarray(np.isfinite(others_px).all(axis=1))
    present[view] = False
    if not present.any() or not np.isfinite(direction).all():
        return None
    proposed = _nearest_to_other_rays(rig, start, direction, np.where(present[:, None], others_px, np.nan))
    proposed = proposed[np.isfinite(proposed) & (proposed > 0)]
    if not proposed.size:
        return None
    loss = [_loss(off, limit_px, present) for off in _off(rig, start, direction, proposed, others_px)]
    along, off = _refined(rig, start, direction, float(proposed[int(np.argmin(loss))]), others_px, limit_px, present)
    return PlaceOnRay(start + along * direction, np.where(present, np.linalg.norm(off, axis=1), np.nan))


def _nearest_to_other_rays(rig: Rig, start: FloatArray, direction: FloatArray, others_px: FloatArray) -> FloatArray:
    """(V,) distance along the ray of the place that is nearest to each view's ray, NaN where there is none in front of it."""
    rays = np.stack([camera.rays(point) for camera, point in zip(rig.cameras, others_px, strict=True)])
    baseline = np.stack([camera.centre for camera in rig.cameras]) - start
    cosine = rays @ direction
    sine2 = 1 - cosine**2
    p, q = baseline @ direction, (rays * baseline).sum(axis=1)
    along, along_other = p - cosine * q, cosine * p - q
    good: BoolArray = np.asarray((sine2 > _PARALLEL) & (along_other > 0))
    return np.where(good, along / np.where(good, sine2, 1.0), np.nan)


def _off(rig: Rig, start: FloatArray, direction: FloatArray, along: FloatArray, others_px: FloatArray) -> FloatArray:
    """(n,) places on the ray → (n, V, 2) projection minus what the view shows; NaN behind a camera and where nothing is shown."""
    return np.moveaxis(rig.project(start + along[:, None] * direction), 0, 1) - others_px


def _loss(off: FloatArray, limit_px: FloatArray, present: BoolArray) -> float:
    """Between 0 and the number of views; a view that cannot see the place counts whole."""
    squared = (off**2).sum(axis=1) / limit_px**2
    bounded = np.where(np.isfinite(squared), squared / (1 + squared), 1.0)
    return float(bounded[present].sum())


def _refined(
    rig: Rig,
    start: FloatArray,
    direction: FloatArray,
    along: float,
    others_px: FloatArray,
    limit_px: FloatArray,
    present: BoolArray,
) -> tuple[float, FloatArray]:
    """Gauss–Newton on the one distance, the views reweighted at each step; a step that does not lower the loss ends it.

    Returns the distance, and (V, 2) how far each view's point lies from the projection there.
    """

    def at(distance: float) -> tuple[FloatArray, FloatArray]:
        """(V, 2) off there, and (V, 2) its derivative along the ray."""
        change = distance * _DIFFERENCE
        here, beyond = _off(rig, start, direction, np.array([distance, distance + change]), others_px)
        return here, (beyond - here) / change

    off, slope = at(along)
    best = _loss(off, limit_px, present)
    for _ in range(_STEPS):
        weight = 1 / (limit_px * (1 + (off**2).sum(axis=1) / limit_px**2)) ** 2
        used = present & np.isfinite(off).all(axis=1) & np.isfinite(slope).all(axis=1)
        gradient = (weight[:, None] * slope * off)[used].sum()
        curvature = (weight[:, None] * slope**2)[used].sum()
        if curvature <= 0:
            break
        step = -float(gradient / curvature)
        if along + step <= 0:
            break
        new_off, new_slope = at(along + step)
        loss = _loss(new_off, limit_px, present)
        if loss >= best:
            break
        along, best, off, slope = along + step, loss, new_off, new_slope
        if abs(step) < _STILL * along:
            break
    return along, off
