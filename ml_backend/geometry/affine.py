"""A rig without calibration: views as affine functions of three hidden coordinates.

For a subject small against its distance from the cameras, the stacked image coordinates of all views lie near a
three-dimensional affine subspace (Tomasi & Kanade 1992).  The model learns that subspace from labelled points;
a prediction's distance from it is a residual in pixels, usable for two or more views.  Perspective and lens distortion are
part of the labelled residual, which the model keeps as ``epsilon_px``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray
from ml_backend.geometry.epipolar import MIN_CORRESPONDENCES
from ml_backend.geometry.normalised import solve

_RANK = 3
_ITERATIONS = 100
_EPSILON_QUANTILE = 0.95
_TRIM = 5.0


@dataclass(frozen=True)
class AffineModel:
    """mean (V, 2) px and basis (V, 2, 3) px per hidden unit; epsilon_px = 95 % quantile of the labelled residuals."""

    mean: FloatArray
    basis: FloatArray
    epsilon_px: float


def fit_affine(xy_px: FloatArray) -> AffineModel | None:
    """Rank-3 factorisation of labelled points (m, V, K, 2), NaN = missing.

    Alternating least squares over the present coordinates, repeated once without points whose residual exceeds five times the
    median.  None with fewer than 15 points in at least two views, or when some view shares fewer than 15 with the others.
    """
    _check(xy_px)
    points = xy_px.transpose(0, 2, 1, 3).reshape(-1, xy_px.shape[1], 2)
    present = np.asarray(np.isfinite(points).all(axis=-1))
    for _ in range(2):
        shared = present.sum(axis=1) >= 2
        points, present = points[shared], present[shared]
        if len(points) < MIN_CORRESPONDENCES or (present.sum(axis=0) < MIN_CORRESPONDENCES).any():
            return None
        mean, basis = _factorise(points, present)
        residual = _residual(mean, basis, points)
        epsilon = float(np.nanquantile(residual, _EPSILON_QUANTILE))
        good = ~(residual > _TRIM * np.nanmedian(residual)).any(axis=1)
        if good.all():
            break
        points, present = points[good], present[good]
    return AffineModel(mean, basis, epsilon)


def affine_residual(model: AffineModel, xy_px: FloatArray) -> FloatArray:
    """Points (n, V, K, 2) → (n, V, K) distance in px of each point from the model's best explanation of all views' points.

    NaN where the view has no point or fewer than two views have one.  Two views leave one degree of freedom: errors
    along the (affine) epipolar line are invisible.
    """
    _check(xy_px)
    n, views, keypoints = xy_px.shape[:3]
    if views != len(model.mean):
        raise BadInputError(f"affine residual: the model has {len(model.mean)} views, expected points of as many, got {views}")
    flat = xy_px.transpose(0, 2, 1, 3).reshape(-1, views, 2)
    return _residual(model.mean, model.basis, flat).reshape(n, keypoints, views).transpose(0, 2, 1)


def _check(xy_px: FloatArray) -> None:
    if xy_px.ndim != 4 or xy_px.shape[3] != 2 or xy_px.shape[1] < 2:
        raise BadInputError(f"points: expected shape (n, V, K, 2) with at least two views, got {xy_px.shape}")


def _factorise(points: FloatArray, present: BoolArray) -> tuple[FloatArray, FloatArray]:
    rows, views = present.shape
    weight = present.astype(np.float64)
    mean = np.where(present[..., None], points, 0.0).sum(axis=0) / weight.sum(axis=0)[:, None]
    filled = np.where(present[..., None], points - mean, 0.0).reshape(rows, 2 * views)
    _, _, vt = np.linalg.svd(filled, full_matrices=False)
    basis = vt[:_RANK].T.reshape(views, 2, _RANK)
    previous = np.inf
    for _ in range(_ITERATIONS):
        hidden = _hidden(mean, basis, points, present)
        design = np.column_stack((hidden, np.ones(rows)))
        for v in range(views):
            seen = present[:, v]
            solution, *_ = np.linalg.lstsq(design[seen], points[seen, v], rcond=None)
            basis[v], mean[v] = solution[:_RANK].T, solution[_RANK]
        mean, basis = _gauge(mean, basis, hidden)
        error = float(np.nansum(_residual(mean, basis, points) ** 2))
        if error >= previous * (1 - 1e-9):
            break
        previous = error
    return mean, basis


def _gauge(mean: FloatArray, basis: FloatArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Orthonormal basis, mean at the mean hidden point: removes the freedom in which the iteration could drift."""
    mean = mean + basis @ hidden.mean(axis=0)
    orthonormal, _ = np.linalg.qr(basis.reshape(-1, _RANK))
    return mean, orthonormal.reshape(basis.shape)


def _hidden(mean: FloatArray, basis: FloatArray, points: FloatArray, present: BoolArray) -> FloatArray:
    """(r, 3) least-squares hidden coordinates; NaN with fewer than two views."""
    weight = present.astype(np.float64)
    gram = np.einsum("vci,vcj->vij", basis, basis)
    upper = gram[:, (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)]
    offset = np.where(present[..., None], points - mean, 0.0)
    right = np.einsum("rvc,vci->ir", offset, basis)
    hidden = solve(np.ascontiguousarray((weight @ upper).T), right).T
    return np.where((present.sum(axis=1) >= 2)[:, None], hidden, np.nan)


def _residual(mean: FloatArray, basis: FloatArray, points: FloatArray) -> FloatArray:
    """(r, V, 2) → (r, V)."""
    present = np.asarray(np.isfinite(points).all(axis=-1))
    predicted = mean + np.einsum("vci,ri->rvc", basis, _hidden(mean, basis, points, present))
    return np.asarray(np.linalg.norm(points - predicted, axis=-1))
