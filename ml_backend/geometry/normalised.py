"""Kernels on a rig in coordinates in which every number is near one.

Raw pixels and millimetres would mix factors of 1e5 (focal lengths) and 1e3 (distances) in one 3×3 system.  Here the image is
measured from the principal point in units of the focal length, and the world from the point that all cameras look at in units
of the typical camera distance.  Arrays are laid out views first, points last: every operation runs along contiguous points.

Letters: V views, M points.  Everything is float64: the normal equations square the condition number.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from label_config.values import BoolArray, FloatArray
from ml_backend.geometry.cameras import Camera, Rig

#: Where an observation that does not exist is put: farther from everything than any threshold, yet finite when squared.
NOWHERE = 1e100
_TINY = 1e-30


class NormalisedRig:
    """A rig prepared for many points.

    P        (3, V, 4) projection rows, normalised world → normalised image
    focal    (V, 1) geometric mean focal length: pixels per normalised image unit
    depth    (V, 1) normalised depth of the common point, used to turn algebraic errors into image errors
    centres  (V, 3) camera centres, normalised world
    origin   (3,) world point that becomes 0;  unit: world length that becomes 1
    """

    def __init__(self, rig: Rig) -> None:
        self.cameras = rig.cameras
        centres = np.stack([camera.centre for camera in self.cameras])
        self.origin, self.unit = _common_point(rig, centres)
        self.centres = (centres - self.origin) / self.unit
        self.focal = np.array([[np.sqrt(camera.K[0, 0] * camera.K[1, 1])] for camera in self.cameras])
        self.principal = np.array([camera.K[:2, 2] for camera in self.cameras])
        shape = np.stack([self._shape(camera) for camera in self.cameras])
        rotation = shape @ np.stack([camera.R_cam_world for camera in self.cameras])
        self.P = np.concatenate((rotation, -rotation @ self.centres[:, :, None]), axis=2).transpose(1, 0, 2).copy()
        self._to_ray = np.linalg.inv(rotation)
        depth = self.P[2, :, 3:]
        self.depth = np.where(depth > 0.1, depth, 1.0)
        self.bent = [v for v, camera in enumerate(self.cameras) if camera.dist.any() or camera.model == "fisheye"]

    @staticmethod
    def _shape(camera: Camera) -> FloatArray:
        """What is left of K without principal point and focal length: skew and the pixels' aspect."""
        shape: FloatArray = camera.K / np.sqrt(camera.K[0, 0] * camera.K[1, 1])
        shape[:, 2] = (0, 0, 1)
        return shape

    def __len__(self) -> int:
        return len(self.cameras)

    @cached_property
    def _gram_terms(self) -> FloatArray:
        """(9, 4V) coefficients of :meth:`gram`: six entries of the normal matrix, three of the right-hand side."""
        p1, p2, p3 = self.P

        def entries(a: FloatArray, b: FloatArray) -> list[FloatArray]:
            pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2), (0, 3), (1, 3), (2, 3)]
            return [(a[:, i] * b[:, j] + a[:, j] * b[:, i]) / 2 for i, j in pairs]

        squares, cross_u, cross_v = entries(p3, p3), entries(p1, p3), entries(p2, p3)
        constant = np.add(entries(p1, p1), entries(p2, p2))
        return np.concatenate((squares, -2 * np.array(cross_u), -2 * np.array(cross_v), constant), axis=1)

    @cached_property
    def _gradient_terms(self) -> FloatArray:
        """(3, 3V) coefficients of the Gauss–Newton right-hand side."""
        return np.concatenate(self.P[:, :, :3], axis=0).T.copy()

    def to_world(self, x: FloatArray) -> FloatArray:
        """(3, M) normalised → (M, 3) world."""
        return np.asarray(x.T * self.unit + self.origin)

    def observe(self, x_px: FloatArray, y_px: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Distorted pixels (V, M), NaN = none → normalised u, v and the scale in distorted pixels per unit.

        Without an observation (or where the lens cannot have produced it) u and v are NOWHERE and the scale is 0.
        """
        u, v = x_px.copy(), y_px.copy()
        scale = np.repeat(self.focal, x_px.shape[1], axis=1)
        for i in self.bent:
            ideal, enlarged = self.cameras[i].undistort_scaled(np.stack((x_px[i], y_px[i]), axis=-1))
            u[i], v[i], scale[i] = ideal[:, 0], ideal[:, 1], enlarged * self.focal[i]
        u = (u - self.principal[:, :1]) / self.focal
        v = (v - self.principal[:, 1:]) / self.focal
        missing = ~(np.isfinite(u) & np.isfinite(v))
        u[missing], v[missing], scale[missing] = NOWHERE, NOWHERE, 0.0
        return u, v, scale

    def project(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(3, M) → homogeneous image coordinates, three arrays (V, M); the last is the normalised depth."""
        flat = self.P.reshape(-1, 4)
        out = (flat[:, :3] @ x + flat[:, 3:]).reshape(3, len(self), -1)
        return out[0], out[1], out[2]

    def residual_px(self, x: FloatArray, x_px: FloatArray, y_px: FloatArray) -> FloatArray:
        """(V, M) distance in distorted pixels between the projections of (3, M) and the observations; NaN without one."""
        a, b, c = self.project(x)
        inverse = 1 / _away_from_zero(c)
        seen_x = a * inverse * self.focal + self.principal[:, :1]
        seen_y = b * inverse * self.focal + self.principal[:, 1:]
        for i in self.bent:
            bent = self.cameras[i].distort(np.stack((seen_x[i], seen_y[i]), axis=-1))
            seen_x[i], seen_y[i] = bent[:, 0], bent[:, 1]
        return np.asarray(np.hypot(seen_x - x_px, seen_y - y_px))

    def gram(self, weight: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
        """(9, M) normal matrix and right-hand side of ``Σ weight ‖rows(u, v)·X‖²``, one GEMM.

        The rows of a view are ``u p₃ − p₁`` and ``v p₃ − p₂``; their outer products are linear in (u² + v², u, v, 1).
        """
        return np.asarray(self._gram_terms @ _stacked(weight, u, v))

    def solve_linear(self, weight: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
        """(3, M) inhomogeneous direct linear transform: algebraic least squares with X_h = 1; NaN where singular."""
        gram = self.gram(weight / (self.depth * self.depth), u, v)
        return solve(gram[:6], -gram[6:])

    def gauss_newton(self, x: FloatArray, weight: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
        """One step on ``Σ weight ‖projection − (u, v)‖²`` from (3, M); points whose system is singular stay."""
        a, b, c = self.project(x)
        inverse = 1 / _away_from_zero(c)
        a *= inverse
        b *= inverse
        wi = weight * inverse
        matrix = self._gram_terms[:6] @ _stacked(wi * inverse, a, b)
        du, dv = (u - a) * wi, (v - b) * wi
        step = solve(matrix, self._gradient_terms @ np.concatenate((du, dv, -(du * a + dv * b))))
        return np.asarray(x + np.where(np.isfinite(step), step, 0.0))

    def information(self, x: FloatArray, weight: FloatArray) -> FloatArray:
        """(6, M) JᵀJ of the weighted projections at (3, M), normalised world."""
        a, b, c = self.project(x)
        inverse = 1 / _away_from_zero(c)
        return np.asarray(self._gram_terms[:6] @ _stacked(weight * inverse * inverse, a * inverse, b * inverse))

    def rays(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """(3, V, M) unit directions from the camera centres through normalised image points."""
        rays = np.stack([t[:, :1] * u + t[:, 1:2] * v + t[:, 2:] for t in self._to_ray.transpose(1, 0, 2)])
        rays *= 1 / np.sqrt(rays[0] * rays[0] + rays[1] * rays[1] + rays[2] * rays[2])
        return rays

    def largest_angle_deg(self, x: FloatArray, used: BoolArray) -> FloatArray:
        """(M,) largest angle at the point between two of the used cameras (V, M); NaN below two."""
        rays = self.centres.T[:, :, None] - x[:, None, :]
        rays *= 1 / np.maximum(np.sqrt(rays[0] * rays[0] + rays[1] * rays[1] + rays[2] * rays[2]), _TINY)
        smallest = np.full(x.shape[1], 2.0)
        penalty = np.where(used, 0.0, 4.0)
        for i in range(len(self) - 1):
            cosine = rays[0, i] * rays[0, i + 1 :] + rays[1, i] * rays[1, i + 1 :] + rays[2, i] * rays[2, i + 1 :]
            cosine += penalty[i + 1 :]
            np.minimum(smallest, cosine.min(axis=0) + penalty[i], out=smallest)
        return np.asarray(np.degrees(np.arccos(np.clip(np.where(smallest < 1.5, smallest, np.nan), -1, 1))))


def _common_point(rig: Rig, centres: FloatArray) -> tuple[FloatArray, float]:
    """World point nearest to all optical axes, and the mean distance of the cameras from it.

    A small pull towards the middle of the cameras keeps parallel axes (stereo pairs) solvable.
    """
    axes = np.stack([camera.axis for camera in rig.cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    middle = centres.mean(axis=0)
    pull = 1e-6 * len(rig)
    offset = np.linalg.solve(across.sum(axis=0) + pull * np.eye(3), np.einsum("vij,vj->i", across, centres - middle))
    distance = float(np.linalg.norm(centres - middle - offset, axis=1).mean())
    return middle + offset, distance if distance > 0 else 1.0


def _stacked(weight: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    wu, wv = weight * u, weight * v
    return np.concatenate((wu * u + wv * v, wu, wv, weight))


def _away_from_zero(depth: FloatArray) -> FloatArray:
    return np.where(np.abs(depth) < _TINY, _TINY, depth)


def solve(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Symmetric 3×3 systems in closed form.

    ``matrix`` (6, M) holds the entries 00 01 02 11 12 22, ``right`` (3, M); NaN where the determinant is not positive
    relative to the trace (fewer than two views, or rays that coincide).
    """
    inverse = invert(matrix)
    i00, i01, i02, i11, i12, i22 = inverse
    r0, r1, r2 = right
    return np.stack((i00 * r0 + i01 * r1 + i02 * r2, i01 * r0 + i11 * r1 + i12 * r2, i02 * r0 + i12 * r1 + i22 * r2))


def invert(matrix: FloatArray) -> FloatArray:
    """Inverse of symmetric 3×3 matrices (6, M), NaN where singular to working precision."""
    a, b, c, d, e, f = matrix
    c00, c01, c02 = d * f - e * e, c * e - b * f, b * e - c * d
    determinant = a * c00 + b * c01 + c * c02
    trace = a + d + f
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(determinant > 1e-14 * trace * trace * trace, 1 / determinant, np.nan)
    return np.asarray(np.stack((c00, c01, c02, a * f - c * c, b * c - a * e, a * d - b * b)) * scale)
