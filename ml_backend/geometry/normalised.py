"""Kernels on a rig in coordinates in which every number is near one.

Raw pixels and millimetres would mix factors of 1e5 (focal lengths) and 1e3 (distances) in one 3×3 system.  Here the image is
measured from the principal point in units of the focal length, and the world from the point that all cameras face, in units
of the typical camera distance.  Arrays are laid out views first, points last: every operation runs along contiguous points.

Letters: V views, M points.  Everything is float64: the normal equations square the condition number.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    diagonal (V, 1) of the pictures, pixels
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
        self.diagonal = np.linalg.norm(rig.size_px, axis=1, keepdims=True)
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

    def observe(self, xy_px: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(2, V, M) distorted pixels, NaN = none → undistorted normalised image coordinates and (V, M) pixels per unit of them.

        The scale is the focal length times the lens's mean magnification at that place.  Without an observation, and where the
        lens model cannot have produced it, the coordinates are NOWHERE and the scale is 0: there is no ray to work with.
        """
        uv = xy_px - self.principal.T[:, :, None]
        scale = np.repeat(self.focal, xy_px.shape[2], axis=1)
        for i in self.bent:
            ideal, enlarged = self.cameras[i].undistort_scaled(xy_px[:, i].T)
            uv[:, i] = (ideal - self.principal[i]).T
            scale[i] *= enlarged
        uv /= self.focal
        if not np.isfinite(uv).all():
            missing = ~np.isfinite(uv).all(axis=0)
            uv[:, missing], scale[missing] = NOWHERE, 0.0
        return uv, scale

    def project(self, x: FloatArray) -> FloatArray:
        """(3, ...) → (3, V, ...) homogeneous image coordinates, the last of them the normalised depth."""
        homogeneous = np.empty((4, *x.shape[1:]))
        homogeneous[:3], homogeneous[3] = x, 1.0
        out: FloatArray = self.P.reshape(-1, 4) @ homogeneous.reshape(4, -1)
        return out.reshape(3, len(self), *x.shape[1:])

    def image(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(3, M) → (2, V, M) normalised image coordinates and (V, M) inverse depth."""
        out = self.project(x)
        ab, depth = out[:2], out[2]
        if not depth.all():
            depth[depth == 0] = _TINY
        np.divide(1.0, depth, out=depth)
        ab *= depth
        return ab, depth

    def distorted(self, view: int, ab: FloatArray) -> FloatArray:
        """(2, M) normalised image coordinates of a view → distorted pixels."""
        ideal = ab.T * self.focal[view] + self.principal[view]
        return self.cameras[view].distort(ideal).T

    def gram(self, weight: FloatArray, uv: FloatArray) -> FloatArray:
        """(9, M) normal matrix and right-hand side of ``Σ weight ‖rows(u, v)·X‖²``, one GEMM.

        The rows of a view are ``u p₃ − p₁`` and ``v p₃ − p₂``; their outer products are linear in (u² + v², u, v, 1).
        """
        return np.asarray(self._gram_terms @ _stacked(weight, uv))

    def solve_linear(self, weight: FloatArray, uv: FloatArray) -> FloatArray:
        """(3, M) inhomogeneous direct linear transform: algebraic least squares with X_h = 1; NaN where singular."""
        gram = self.gram(weight / (self.depth * self.depth), uv)
        return -multiply(invert(gram[:6]), gram[6:])

    def gauss_newton(self, x: FloatArray, weight: FloatArray, uv: FloatArray) -> tuple[FloatArray, FloatArray]:
        """One step (3, M) on ``Σ weight ‖projection − (u, v)‖²`` from (3, M), and the inverse normal matrix (6, M) there.

        Where the system is singular the step is 0 and the inverse NaN.
        """
        ab, inverse_depth = self.image(x)
        inverse = invert(self.information(ab, inverse_depth, weight))
        return _finite(multiply(inverse, self._gradient(ab, inverse_depth, weight, uv))), inverse

    def chord(self, x: FloatArray, inverse: FloatArray, weight: FloatArray, uv: FloatArray) -> FloatArray:
        """:meth:`gauss_newton` with the inverse normal matrix of a place nearby: as good a step there, for half the work."""
        return _finite(multiply(inverse, self._gradient(*self.image(x), weight, uv)))

    def _gradient(self, ab: FloatArray, inverse_depth: FloatArray, weight: FloatArray, uv: FloatArray) -> FloatArray:
        """(3, M) Jᵀ r at normalised image coordinates ab."""
        terms = np.empty((3, *weight.shape))
        residual, toward = terms[:2], terms[2]
        np.subtract(uv, ab, out=residual)
        residual *= weight * inverse_depth
        np.multiply(residual[0], ab[0], out=toward)
        toward += residual[1] * ab[1]
        return np.asarray(self._gradient_terms @ terms.reshape(-1, weight.shape[1]))

    def information(self, ab: FloatArray, inverse_depth: FloatArray, weight: FloatArray) -> FloatArray:
        """(6, M) JᵀJ of the weighted projections at normalised image coordinates ab (2, V, M)."""
        squared = inverse_depth * inverse_depth
        squared *= weight
        return np.asarray(self._gram_terms[:6] @ _stacked(squared, ab))

    def rays(self, uv: FloatArray) -> FloatArray:
        """(3, V, M) unit directions from the camera centres through normalised image points (2, V, M)."""
        rays = self._to_ray[:, :, 0].T[:, :, None] * uv[0]
        rays += self._to_ray[:, :, 1].T[:, :, None] * uv[1]
        rays += self._to_ray[:, :, 2].T[:, :, None]
        rays /= np.sqrt(_dot(rays, rays))
        return np.asarray(rays)

    def largest_angle_deg(self, x: FloatArray, used: BoolArray) -> FloatArray:
        """(M,) largest angle at the point between two of the used cameras (V, M); NaN below two.

        By the law of cosines in the triangle of two cameras and the point.
        """
        towards = self.centres.T[:, :, None] - x[:, None, :]
        squared = _dot(towards, towards)
        inverse = 1 / np.sqrt(np.maximum(squared, _TINY))
        squared[~used] = np.inf
        apart = ((self.centres[:, None] - self.centres) ** 2).sum(axis=2)[:, :, None]
        smallest = np.full(x.shape[1], np.inf)
        for i in range(len(self) - 1):
            cosine = squared[i + 1 :] + (squared[i] - apart[i, i + 1 :])
            cosine *= inverse[i + 1 :]
            np.minimum(smallest, cosine.min(axis=0) * inverse[i], out=smallest)
        smallest[np.isinf(smallest)] = np.nan
        return np.asarray(np.degrees(np.arccos(np.clip(smallest / 2, -1, 1))))


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


def _dot(a: Sequence[FloatArray] | FloatArray, b: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """Scalar product of the first three rows."""
    total: FloatArray = np.multiply(a[0], b[0], out=out)
    term = a[1] * b[1]
    total += term
    total += np.multiply(a[2], b[2], out=term)
    return total


def _stacked(weight: FloatArray, uv: FloatArray) -> FloatArray:
    """(4V, M): weight times u² + v², u, v, 1."""
    out = np.empty((4, *weight.shape))
    np.multiply(weight, uv, out=out[1:3])
    squares = out[1:3] * uv
    np.add(squares[0], squares[1], out=out[0])
    out[3] = weight
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
    out = np.empty_like(vector)
    for row, entries in zip(out, ((m00, m01, m02), (m01, m11, m12), (m02, m12, m22)), strict=True):
        _dot(entries, vector, out=row)
    return out


def invert(matrix: FloatArray) -> FloatArray:
    """Inverse of symmetric 3×3 matrices (6, M), NaN where singular to working precision."""
    a, b, c, d, e, f = matrix
    out = np.empty_like(matrix)
    product = np.empty_like(a)
    for row, (p, q, r, s) in zip(
        out,
        ((d, f, e, e), (c, e, b, f), (b, e, c, d), (a, f, c, c), (b, c, a, e), (a, d, b, b)),
        strict=True,
    ):
        np.multiply(p, q, out=row)
        row -= np.multiply(r, s, out=product)
    determinant = _dot(matrix, out)
    trace = a + d
    trace += f
    limit = np.multiply(trace, trace, out=product)
    limit *= trace
    limit *= 1e-14
    regular = determinant > limit
    if not regular.all():
        determinant[~regular] = np.nan
    out *= np.divide(1.0, determinant, out=determinant)
    return out
