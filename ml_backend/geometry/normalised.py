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
        """(3, 3V) coefficients of :meth:`gradient`."""
        p1, p2, p3 = self.P[:, :, :3]
        return np.ascontiguousarray(np.concatenate((p1, p2, -p3)).T)

    def to_world(self, x: FloatArray) -> FloatArray:
        """(3, M) normalised → (M, 3) world."""
        return np.asarray(x.T * self.unit + self.origin)

    def observe(self, x_px: FloatArray, y_px: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Distorted pixels (V, M), NaN = none → normalised u, v and the scale in distorted pixels per unit.

        Without an observation (or where the lens cannot have produced it) u and v are NOWHERE and the scale is 0.
        """
        u, v = x_px - self.principal[:, :1], y_px - self.principal[:, 1:]
        scale = np.repeat(self.focal, x_px.shape[1], axis=1)
        for i in self.bent:
            ideal, enlarged = self.cameras[i].undistort_scaled(np.stack((x_px[i], y_px[i]), axis=-1))
            u[i], v[i] = (ideal - self.principal[i]).T
            scale[i] *= enlarged
        u /= self.focal
        v /= self.focal
        missing = ~(np.isfinite(u) & np.isfinite(v))
        if missing.any():
            u[missing], v[missing], scale[missing] = NOWHERE, NOWHERE, 0.0
        return u, v, scale

    def project(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(3, ...) → homogeneous image coordinates, three arrays (V, ...); the last is the normalised depth."""
        homogeneous = np.empty((4, *x.shape[1:]))
        homogeneous[:3], homogeneous[3] = x, 1.0
        out = (self.P.reshape(-1, 4) @ homogeneous.reshape(4, -1)).reshape(3, len(self), *x.shape[1:])
        return out[0], out[1], out[2]

    def image(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(3, M) → normalised image coordinates and inverse depth, (V, M) each."""
        a, b, c = self.project(x)
        if not c.all():
            c[c == 0] = _TINY
        np.divide(1.0, c, out=c)
        a *= c
        b *= c
        return a, b, c

    def distorted(self, view: int, a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Normalised image coordinates (M,) of a view → x and y in distorted pixels."""
        ideal = np.stack((a, b), axis=-1) * self.focal[view] + self.principal[view]
        seen = self.cameras[view].distort(ideal)
        return seen[:, 0], seen[:, 1]

    def gram(self, weight: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
        """(9, M) normal matrix and right-hand side of ``Σ weight ‖rows(u, v)·X‖²``, one GEMM.

        The rows of a view are ``u p₃ − p₁`` and ``v p₃ − p₂``; their outer products are linear in (u² + v², u, v, 1).
        """
        return np.asarray(self._gram_terms @ _stacked(weight, u, v))

    def solve_linear(self, weight: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
        """(3, M) inhomogeneous direct linear transform: algebraic least squares with X_h = 1; NaN where singular."""
        gram = self.gram(weight / (self.depth * self.depth), u, v)
        return -multiply(invert(gram[:6]), gram[6:])

    def gauss_newton(self, x: FloatArray, weight: FloatArray, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        """One step (3, M) on ``Σ weight ‖projection − (u, v)‖²`` from (3, M), and the inverse normal matrix (6, M) there.

        Where the system is singular the step is 0 and the inverse NaN.
        """
        a, b, inverse_depth = self.image(x)
        inverse = invert(self._information(a, b, inverse_depth, weight))
        return _finite(multiply(inverse, self._gradient(a, b, inverse_depth, weight, u, v))), inverse

    def chord(self, x: FloatArray, inverse: FloatArray, weight: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
        """:meth:`gauss_newton` with the inverse normal matrix of a place nearby: as good a step there, for half the work."""
        return _finite(multiply(inverse, self._gradient(*self.image(x), weight, u, v)))

    def _gradient(
        self, a: FloatArray, b: FloatArray, inverse_depth: FloatArray, weight: FloatArray, u: FloatArray, v: FloatArray
    ) -> FloatArray:
        """(3, M) Jᵀ r at normalised image coordinates a, b."""
        scale = weight * inverse_depth
        terms = np.empty((3, *a.shape))
        du, dv, toward = terms
        np.subtract(u, a, out=du)
        np.subtract(v, b, out=dv)
        du *= scale
        dv *= scale
        np.multiply(du, a, out=toward)
        toward += np.multiply(dv, b, out=scale)
        return np.asarray(self._gradient_terms @ terms.reshape(-1, a.shape[1]))

    def _information(self, a: FloatArray, b: FloatArray, inverse_depth: FloatArray, weight: FloatArray) -> FloatArray:
        squared = inverse_depth * inverse_depth
        squared *= weight
        return np.asarray(self._gram_terms[:6] @ _stacked(squared, a, b))

    def information(self, x: FloatArray, weight: FloatArray) -> FloatArray:
        """(6, M) JᵀJ of the weighted projections at (3, M), normalised world."""
        return self._information(*self.image(x), weight)

    def rays(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """(3, V, M) unit directions from the camera centres through normalised image points."""
        rays = np.empty((3, *u.shape))
        for ray, t in zip(rays, self._to_ray.transpose(1, 0, 2), strict=True):
            np.multiply(t[:, :1], u, out=ray)
            ray += t[:, 1:2] * v
            ray += t[:, 2:]
        length = _dot(rays, rays)
        rays /= np.sqrt(length, out=length)
        return rays

    def largest_angle_deg(self, x: FloatArray, used: BoolArray) -> FloatArray:
        """(M,) largest angle at the point between two of the used cameras (V, M); NaN below two."""
        rays = self.centres.T[:, :, None] - x[:, None, :]
        length = _dot(rays, rays)
        np.sqrt(length, out=length)
        rays /= np.maximum(length, _TINY, out=length)
        penalty = np.where(used, 0.0, 4.0)
        smallest = np.full(x.shape[1], 2.0)
        for i in range(len(self) - 1):
            cosine = _dot(rays[:, i : i + 1], rays[:, i + 1 :])
            cosine += penalty[i + 1 :]
            cosine += penalty[i]
            np.minimum(smallest, cosine.min(axis=0), out=smallest)
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


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    """Scalar product along the first axis, of length three."""
    out: FloatArray = a[0] * b[0]
    out += a[1] * b[1]
    out += a[2] * b[2]
    return out


def _stacked(weight: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """(4V, M): weight times u² + v², u, v, 1."""
    out = np.empty((4, *weight.shape))
    squares, wu, wv, out[3] = out[0], out[1], out[2], weight
    np.multiply(weight, u, out=wu)
    np.multiply(weight, v, out=wv)
    np.multiply(wu, u, out=squares)
    squares += wv * v
    return out.reshape(-1, weight.shape[1])


def _finite(step: FloatArray) -> FloatArray:
    if not np.isfinite(step).all():
        step[~np.isfinite(step)] = 0.0
    return step


def solve(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Symmetric 3×3 systems in closed form.

    ``matrix`` (6, M) holds the entries 00 01 02 11 12 22, ``right`` (3, M); NaN where the determinant is not positive
    relative to the trace (fewer than two views, or rays that coincide).
    """
    return multiply(invert(matrix), right)


def multiply(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    """Symmetric matrices (6, M) times vectors (3, M)."""
    m00, m01, m02, m11, m12, m22 = matrix
    x, y, z = vector
    out = np.empty_like(vector)
    for row, (p, q, r) in zip(out, ((m00, m01, m02), (m01, m11, m12), (m02, m12, m22)), strict=True):
        np.multiply(p, x, out=row)
        row += q * y
        row += r * z
    return out


def invert(matrix: FloatArray) -> FloatArray:
    """Inverse of symmetric 3×3 matrices (6, M), NaN where singular to working precision."""
    a, b, c, d, e, f = matrix
    out = np.empty_like(matrix)
    for row, (p, q, r, s) in zip(
        out,
        ((d, f, e, e), (c, e, b, f), (b, e, c, d), (a, f, c, c), (b, c, a, e), (a, d, b, b)),
        strict=True,
    ):
        np.multiply(p, q, out=row)
        row -= r * s
    determinant = a * out[0]
    determinant += b * out[1]
    determinant += c * out[2]
    trace = a + d
    trace += f
    limit = trace * trace
    limit *= trace
    limit *= 1e-14
    singular = ~(determinant > limit)
    if singular.any():
        determinant[singular] = np.nan
    out /= determinant
    return out
