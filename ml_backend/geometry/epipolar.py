"""Two views constrain each other: fundamental matrices, from a rig or from labelled points, and their residuals.

``F[a, b]`` maps a point of view ``a`` to its line in view ``b``: ``x_bᵀ F[a, b] x_a = 0``, homogeneous pixels
(undistorted ones for a rig; fitted matrices live in the pixels that they were fitted to).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from label_config.values import BadInputError, FloatArray
from ml_backend.geometry.cameras import Rig

#: Fewer labelled correspondences than this do not determine a matrix that could accuse anybody.
MIN_CORRESPONDENCES = 15
_SAMPLES = 400
_SAMPLE_SIZE = 8


def fundamental_from_rig(rig: Rig) -> FloatArray:
    """(V, V, 3, 3) for all ordered pairs, unit Frobenius norm (Hartley & Zisserman eq. 9.1); zero on the diagonal."""
    views = len(rig)
    matrices = np.zeros((views, views, 3, 3))
    for a, first in enumerate(rig.cameras):
        for b, second in enumerate(rig.cameras):
            if a == b:
                continue
            turn = second.R_cam_world @ first.R_cam_world.T
            shift = second.t_cam_world - turn @ first.t_cam_world
            essential = _cross(shift) @ turn
            matrix = np.linalg.inv(second.K).T @ essential @ np.linalg.inv(first.K)
            matrices[a, b] = matrix / max(float(np.linalg.norm(matrix)), 1e-300)
    return matrices


def _cross(v: FloatArray) -> FloatArray:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


def fit_fundamental(xy_a: FloatArray, xy_b: FloatArray, *, seed: int = 0) -> FloatArray | None:
    """Robust ``F`` (3, 3) from correspondences (m, 2) each, NaN = missing; None with fewer than 15 common points.

    Least median of squares over eight-point samples (Zhang 1998; normalised as in Hartley 1997, with a fixed seed), then
    least Sampson error over the correspondences within 2.5 robust standard deviations, on the manifold of rank 2.
    """
    if xy_a.shape != xy_b.shape or xy_a.ndim != 2 or xy_a.shape[1] != 2:
        raise BadInputError(f"correspondences: expected two arrays of shape (m, 2), got {xy_a.shape} and {xy_b.shape}")
    both = np.isfinite(xy_a).all(axis=1) & np.isfinite(xy_b).all(axis=1)
    if both.sum() < MIN_CORRESPONDENCES:
        return None
    to_a, to_b = _normaliser(xy_a[both]), _normaliser(xy_b[both])
    a, b = _homogeneous(xy_a[both]) @ to_a.T, _homogeneous(xy_b[both]) @ to_b.T
    matrix = _least_median(a, b, np.random.default_rng(seed))
    for _ in range(2):
        squared = _sampson(matrix, a, b) ** 2
        sigma = 1.4826 * (1 + 5 / max(1, len(a) - 7)) * np.sqrt(np.median(squared))
        near = squared <= max((2.5 * sigma) ** 2, float(np.partition(squared, _SAMPLE_SIZE)[_SAMPLE_SIZE]))
        matrix = _polished(_eight_point(a[near][None], b[near][None])[0], a[near], b[near])
    matrix = to_b.T @ matrix @ to_a
    return np.asarray(matrix / np.linalg.norm(matrix))


def fit_fundamentals(xy_px: FloatArray, *, seed: int = 0) -> FloatArray:
    """(V, V, 3, 3) from labelled points (m, V, K, 2), NaN = missing; NaN for pairs with too few common points."""
    if xy_px.ndim != 4 or xy_px.shape[3] != 2:
        raise BadInputError(f"labelled points: expected shape (m, V, K, 2), got {xy_px.shape}")
    views = xy_px.shape[1]
    matrices = np.full((views, views, 3, 3), np.nan)
    for a in range(views):
        for b in range(a + 1, views):
            matrix = fit_fundamental(xy_px[:, a].reshape(-1, 2), xy_px[:, b].reshape(-1, 2), seed=seed)
            if matrix is not None:
                matrices[a, b], matrices[b, a] = matrix, matrix.T
    return matrices


def pair_distance(matrices: FloatArray, xy_px: FloatArray) -> FloatArray:
    """(..., V, V, K) distance in view b (second V axis) of its point from the line of view a's point; NaN = no pair."""
    views = len(matrices)
    if xy_px.ndim < 3 or xy_px.shape[-3] != views or xy_px.shape[-1] != 2:
        raise BadInputError(f"points: expected shape (..., V, K, 2) with V = {views}, got {xy_px.shape}")
    points = _homogeneous(xy_px)
    lines = np.einsum("abij,...akj->...abki", matrices, points)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(np.einsum("...abki,...bki->...abk", lines, points)) / np.hypot(lines[..., 0], lines[..., 1])
    return np.asarray(distance)


def epipolar_residual(matrices: FloatArray, xy_px: FloatArray) -> FloatArray:
    """Symmetric epipolar residual (..., V, K) px of every point against the other views.

    matrices  (V, V, 3, 3) from :func:`fundamental_from_rig` (with undistorted points) or :func:`fit_fundamentals`
    xy_px     (..., V, K, 2), NaN = no point

    Per pair of views the root mean square of the two point-to-line distances; per view the median over its partners, so that
    one wrong view accuses itself rather than all others.  NaN where no other view has the point.
    Insensitive to errors along the epipolar line.
    """
    one_way = pair_distance(matrices, xy_px)
    both = np.sqrt((one_way**2 + np.swapaxes(one_way, -3, -2) ** 2) / 2)
    ordered = np.sort(both, axis=-3)
    count = np.isfinite(both).sum(axis=-3)
    middle = np.stack((np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(matrices) - 1)), axis=-3)
    return np.where(count > 0, np.take_along_axis(ordered, middle, axis=-3).mean(axis=-3), np.nan)


def _homogeneous(xy: FloatArray) -> FloatArray:
    return np.concatenate((xy, np.ones((*xy.shape[:-1], 1))), axis=-1)


def _normaliser(xy: FloatArray) -> FloatArray:
    """Similarity that brings the points to mean 0 and mean distance √2; the median keeps wild points from setting the scale."""
    centre = np.median(xy, axis=0)
    scale = np.sqrt(2) / max(float(np.median(np.linalg.norm(xy - centre, axis=1))), 1e-12)
    return np.array([[scale, 0, -scale * centre[0]], [0, scale, -scale * centre[1]], [0, 0, 1]])


def _eight_point(a: FloatArray, b: FloatArray) -> FloatArray:
    """(s, 3, 3) of rank 2 from (s, m ≥ 8, 3) homogeneous points."""
    rows = (b[..., :, None] * a[..., None, :]).reshape(*a.shape[:2], 9)
    _, vectors = np.linalg.eigh(np.swapaxes(rows, 1, 2) @ rows)
    u, s, vt = np.linalg.svd(vectors[..., 0].reshape(-1, 3, 3))
    s[:, 2] = 0
    return np.asarray((u * s[:, None, :]) @ vt)


def _least_median(a: FloatArray, b: FloatArray, rng: np.random.Generator) -> FloatArray:
    samples = rng.permuted(np.tile(np.arange(len(a)), (_SAMPLES, 1)), axis=1)[:, :_SAMPLE_SIZE]
    candidates = _eight_point(a[samples], b[samples])
    medians = [np.median(np.abs(_sampson(matrix, a, b))) for matrix in candidates]
    return np.asarray(candidates[int(np.argmin(medians))])


def _sampson(matrix: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """(m,) signed first-order geometric error."""
    line_b, line_a = a @ matrix.T, b @ matrix
    size = np.sqrt(line_b[:, 0] ** 2 + line_b[:, 1] ** 2 + line_a[:, 0] ** 2 + line_a[:, 1] ** 2)
    return np.asarray((b * line_b).sum(axis=1) / np.maximum(size, 1e-300))


def _polished(matrix: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """Least Sampson error over U diag(cos φ, sin φ, 0) Vᵀ: seven parameters, always of rank 2 (Bartoli & Sturm 2004)."""
    u, s, vt = np.linalg.svd(matrix)
    phi = np.arctan2(s[1], s[0])

    def build(p: FloatArray) -> FloatArray:
        left, right = u @ Rotation.from_rotvec(p[:3]).as_matrix(), vt.T @ Rotation.from_rotvec(p[3:6]).as_matrix()
        return np.asarray((left[:, :2] * (np.cos(phi + p[6]), np.sin(phi + p[6]))) @ right[:, :2].T)

    def error(p: FloatArray) -> FloatArray:
        return _sampson(build(p), a, b)

    fit = least_squares(error, np.zeros(7), method="lm", max_nfev=400)
    return build(fit.x)
