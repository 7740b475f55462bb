"""Lens models on normalised image coordinates: Brown–Conrady and the equidistant fisheye, forwards and backwards.

Normalised coordinates are ``x = X/Z, y = Y/Z`` in the camera's frame.  Functions take and give separate ``x`` and ``y``
arrays of one shape.  Coefficients have the order of OpenCV:

* ``"pinhole"``: k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [τx τy]]]] (Brown 1971; rational radial, thin prism and tilted
  sensor terms as in OpenCV's calib3d documentation);
* ``"fisheye"``: k1 k2 k3 k4 of ``θ_d = θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸)`` (Kannala & Brandt 2006).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from label_config.values import FloatArray

#: Undistorted points reproduce the given ones to this many normalised units (1e-12 · 100,000 px = 1e-7 px).
TOLERANCE = 1e-12
_FIXED_POINT_STEPS = 1
_NEWTON_STEPS = 30


class Warp(NamedTuple):
    """A lens map at some points with its Jacobian ``[[xx, xy], [yx, yy]]`` (derivative of the first by the second)."""

    x: FloatArray
    y: FloatArray
    xx: FloatArray
    xy: FloatArray
    yx: FloatArray
    yy: FloatArray

    @property
    def determinant(self) -> FloatArray:
        return self.xx * self.yy - self.xy * self.yx


def distort(model: str, dist: FloatArray, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ideal normalised coordinates → those that the lens shows; NaN beyond :func:`reach`, where the model shows nothing real."""
    if not dist.any() and model == "pinhole":
        return x, y
    if model == "fisheye":
        scale = _fisheye_scale(dist, x, y)
        shown = x * scale, y * scale
    else:
        shown = _brown_conrady(dist, x, y)[:2]
    limit = reach(model, dist)
    if limit == np.inf:
        return shown
    within = np.asarray(x * x + y * y <= limit * limit)
    return np.where(within, shown[0], np.nan), np.where(within, shown[1], np.nan)


def reach(model: str, dist: FloatArray) -> float:
    """Ideal normalised radius up to which points farther out are also seen farther out; inf = everywhere.

    Beyond it the polynomial, fitted to points nearer the middle, turns round and folds the world back into the picture.  Only the
    radial terms count; the others are small beside them.
    """
    return _reach(model, dist.tobytes())


@lru_cache(maxsize=256)
def _reach(model: str, coefficients: bytes) -> float:
    dist = np.frombuffer(coefficients)
    s = np.polynomial.Polynomial([0.0, 1.0])
    if model == "fisheye":
        k1, k2, k3, k4 = np.pad(dist, (0, 4 - dist.size)).tolist()
        theta = np.sqrt(_first_root(1 + s * (3 * k1 + s * (5 * k2 + s * (7 * k3 + s * 9 * k4)))))
        return float(np.tan(theta)) if theta < np.pi / 2 else np.inf
    k1, k2, _, _, k3, k4, k5, k6 = np.pad(dist, (0, 14 - dist.size))[:8].tolist()
    above, below = 1 + s * (k1 + s * (k2 + s * k3)), 1 + s * (k4 + s * (k5 + s * k6))
    slope = above * below + 2 * s * (above.deriv() * below - above * below.deriv())
    return float(np.sqrt(min(_first_root(slope), _first_root(below))))


def _first_root(polynomial: np.polynomial.Polynomial) -> float:
    """The smallest positive real root; inf without one."""
    coefficients = np.trim_zeros(polynomial.coef, "b")
    if not np.isfinite(coefficients).all() or coefficients.size < 2:
        return np.inf
    roots = np.polynomial.Polynomial(coefficients).roots()
    real = np.real(roots[np.abs(np.imag(roots)) < 1e-9 * (1 + np.abs(roots))])
    return float(real[real > 0].min(initial=np.inf))


def undistort(model: str, dist: FloatArray, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Inverse of :func:`distort`: ``(x, y, determinant)``.

    ``determinant`` is that of the lens map's Jacobian at the solution (how much the lens enlarges areas there).
    All three are NaN where no solution was found: the polynomial folds back before it reaches the point, the iteration
    does not converge, or the ray of a fisheye leaves the half space in front of the camera.
    """
    if model == "fisheye":
        return _within(reach(model, dist), *_invert_fisheye(dist, x, y))
    if not dist.any():
        return x, y, np.where(np.isfinite(x) & np.isfinite(y), 1.0, np.nan)
    return _within(reach(model, dist), *_invert(partial(_brown_conrady, dist), x, y))


def _within(limit: float, x: FloatArray, y: FloatArray, determinant: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The solutions without those that lie beyond a fold of the polynomial."""
    if limit == np.inf:
        return x, y, determinant
    beyond = np.asarray(x * x + y * y > limit * limit)
    if not beyond.any():
        return x, y, determinant
    return np.where(beyond, np.nan, x), np.where(beyond, np.nan, y), np.where(beyond, np.nan, determinant)


def _invert(
    warp_at: Callable[[FloatArray, FloatArray], Warp], x_seen: FloatArray, y_seen: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fixed point to get near, then Newton; points leave the iteration as soon as they have converged."""
    shape = x_seen.shape
    goal_x, goal_y = x_seen.ravel(), y_seen.ravel()
    found_x, found_y, found_det = (np.full(goal_x.shape, np.nan) for _ in range(3))
    todo = np.flatnonzero(np.isfinite(goal_x) & np.isfinite(goal_y))
    x, y = goal_x[todo], goal_y[todo]
    with np.errstate(all="ignore"):
        for step in range(_FIXED_POINT_STEPS + _NEWTON_STEPS):
            warp = warp_at(x, y)
            miss_x, miss_y = goal_x[todo] - warp.x, goal_y[todo] - warp.y
            determinant = warp.determinant
            near = (np.abs(miss_x) < TOLERANCE) & (np.abs(miss_y) < TOLERANCE)
            good = near & (determinant > 0) & (warp.xx + warp.yy > 0)  # neither folded nor mirrored
            if good.any():
                at = todo[good]
                found_x[at], found_y[at], found_det[at] = x[good], y[good], determinant[good]
            if step < _FIXED_POINT_STEPS:
                x, y = x + miss_x, y + miss_y
            else:
                x = x + (warp.yy * miss_x - warp.xy * miss_y) / determinant
                y = y + (warp.xx * miss_y - warp.yx * miss_x) / determinant
            open_ = ~near & np.isfinite(x) & np.isfinite(y)
            todo, x, y = todo[open_], x[open_], y[open_]
            if todo.size == 0:
                break
    return found_x.reshape(shape), found_y.reshape(shape), found_det.reshape(shape)


def _brown_conrady(dist: FloatArray, x: FloatArray, y: FloatArray) -> Warp:
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, *tilt = np.pad(dist, (0, 14 - dist.size)).tolist()
    xx, yy, xy = x * x, y * y, x * y
    r2 = xx + yy
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = k1 + r2 * (2 * k2 + 3 * k3 * r2)
    if k4 or k5 or k6:
        below = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        radial = radial / below
        slope = (slope - radial * (k4 + r2 * (2 * k5 + 3 * k6 * r2))) / below
    mixed = 2 * (xy * slope + p1 * x + p2 * y)
    warp = Warp(
        x=x * radial + 2 * p1 * xy + p2 * (r2 + 2 * xx),
        y=y * radial + p1 * (r2 + 2 * yy) + 2 * p2 * xy,
        xx=radial + 2 * xx * slope + 2 * p1 * y + 6 * p2 * x,
        xy=mixed,
        yx=mixed,
        yy=radial + 2 * yy * slope + 6 * p1 * y + 2 * p2 * x,
    )
    if s1 or s2 or s3 or s4:
        prism_x, prism_y = 2 * (s1 + 2 * s2 * r2), 2 * (s3 + 2 * s4 * r2)
        warp = Warp(
            x=warp.x + r2 * (s1 + s2 * r2),
            y=warp.y + r2 * (s3 + s4 * r2),
            xx=warp.xx + x * prism_x,
            xy=warp.xy + y * prism_x,
            yx=warp.yx + x * prism_y,
            yy=warp.yy + y * prism_y,
        )
    return _tilted(warp, tilt[0], tilt[1]) if any(tilt) else warp


def _tilted(warp: Warp, tau_x: float, tau_y: float) -> Warp:
    """A sensor that is not perpendicular to the optical axis: a homography after the lens (Scheimpflug)."""
    sin_x, cos_x, sin_y, cos_y = np.sin(tau_x), np.cos(tau_x), np.sin(tau_y), np.cos(tau_y)
    about_x = np.array([[1, 0, 0], [0, cos_x, sin_x], [0, -sin_x, cos_x]])
    about_y = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
    turn = about_y @ about_x
    h = np.array([[turn[2, 2], 0, -turn[0, 2]], [0, turn[2, 2], -turn[1, 2]], [0, 0, 1]]) @ turn
    scale = 1 / (h[2, 0] * warp.x + h[2, 1] * warp.y + h[2, 2])
    x = (h[0, 0] * warp.x + h[0, 1] * warp.y + h[0, 2]) * scale
    y = (h[1, 0] * warp.x + h[1, 1] * warp.y + h[1, 2]) * scale
    a, b = (h[0, 0] - x * h[2, 0]) * scale, (h[0, 1] - x * h[2, 1]) * scale
    c, d = (h[1, 0] - y * h[2, 0]) * scale, (h[1, 1] - y * h[2, 1]) * scale
    return Warp(
        x=x,
        y=y,
        xx=a * warp.xx + b * warp.yx,
        xy=a * warp.xy + b * warp.yy,
        yx=c * warp.xx + d * warp.yx,
        yy=c * warp.xy + d * warp.yy,
    )


def _fisheye_scale(dist: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    radius = np.hypot(x, y)
    theta = np.arctan(radius)
    bent, _ = _fisheye_angle(dist, theta)
    small = radius < 1e-8  # the ratio tends to 1
    scale: FloatArray = np.where(small, 1.0, bent / np.where(small, 1.0, radius))
    return scale


def _fisheye_angle(dist: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Angle behind the lens and its derivative by the angle in front."""
    k1, k2, k3, k4 = np.pad(dist, (0, 4 - dist.size)).tolist()
    t2 = theta * theta
    bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
    return bent, slope


def _invert_fisheye(dist: FloatArray, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The fisheye is radial: a one-dimensional Newton on the angle."""
    bent = np.hypot(x, y)
    theta = bent.copy()
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON_STEPS):
            value, slope = _fisheye_angle(dist, theta)
            step = (bent - value) / slope
            theta = theta + step
            if not (np.abs(step) > TOLERANCE / 10).any():
                break
        value, slope = _fisheye_angle(dist, theta)
        solved = (np.abs(value - bent) < TOLERANCE) & (theta >= 0) & (theta < np.pi / 2) & (slope > 0)
        theta = np.where(solved, theta, np.nan)
        radius = np.tan(theta)
        small = bent < 1e-8
        scale = np.where(small, 1.0, radius / np.where(small, 1.0, bent))
        tangential = np.where(small, 1.0, bent / np.where(small, 1.0, radius))
        determinant = tangential * slope / (1 + radius * radius)
    keep = np.isfinite(theta)
    return x * scale, y * scale, np.where(keep, determinant, np.nan)
