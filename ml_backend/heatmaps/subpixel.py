"""Sub-pixel refinement of heatmap maxima.

All functions look only at the neighbourhood of a maximum, so the cost does not depend on the size of the map.
Cells are addressed by ``cell`` (m, 2): column and row of one maximum in each of m maps.
"""

from __future__ import annotations

import numpy as np

from label_config.values import BoolArray, Float32Array, FloatArray, IntArray

#: A step longer than this left the neighbourhood that the Taylor expansion was built from; it is not taken.
_LONGEST_STEP = 2.0


def neighbourhood(maps: Float32Array, cell: IntArray, reach: int) -> FloatArray:
    """(m, 2·reach+1, 2·reach+1) values around ``cell`` of maps (m, h, w); 0 outside a map.  float64."""
    h, w = maps.shape[1:]
    offset = np.arange(-reach, reach + 1)
    col, row = cell[:, :1] + offset, cell[:, 1:] + offset
    in_col, in_row = (col >= 0) & (col < w), (row >= 0) & (row < h)
    index = np.arange(len(maps))[:, None, None]
    values = maps[index, np.clip(row, 0, h - 1)[:, :, None], np.clip(col, 0, w - 1)[:, None, :]]
    return np.where(in_row[:, :, None] & in_col[:, None, :], values, 0.0).astype(np.float64)


def blur_kernel_size(sigma: float) -> int:
    """The odd kernel whose conventional standard deviation is nearest to ``sigma``: 11 for 2, 17 for 3."""
    return 2 * max(round((sigma - 0.8) / 0.3 + 1), 1) + 1


def blurred_neighbourhood(maps: Float32Array, cell: IntArray, kernel: int, reach: int) -> FloatArray:
    """(m, 2·reach+1, 2·reach+1) values around ``cell`` after a Gaussian blur, scaled so that the largest keeps its height.

    The blur treats the outside of a map as 0.  ``kernel`` is its odd width; its standard deviation follows the
    usual rule ``0.3·((kernel−1)/2 − 1) + 0.8``.
    """
    half = kernel // 2
    sigma = 0.3 * (half - 1) + 0.8
    weight = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    weight /= weight.sum()
    size = 2 * reach + 1
    band = np.zeros((size, size + 2 * half))
    for i in range(size):
        band[i, i : i + kernel] = weight
    raw = neighbourhood(maps, cell, reach + half)
    blurred: FloatArray = band @ raw @ band.T
    top = blurred.max(axis=(1, 2), keepdims=True)
    peak = raw[:, reach + half, reach + half][:, None, None]
    scale = np.divide(peak, top, out=np.ones_like(top), where=top > 0)
    return np.asarray(blurred * scale)


def taylor_step_wide(log_values: FloatArray) -> FloatArray:
    """(m, 2) step from the centre of (m, 5, 5) log-values to the extremum of their second-order expansion.

    Stencils of DARK: first derivatives over ±1 cell, second over ±2.  Where the Hessian is singular or the step
    leaves the stencil the step is 0.
    """
    f = log_values
    dx, dy = 0.5 * (f[:, 2, 3] - f[:, 2, 1]), 0.5 * (f[:, 3, 2] - f[:, 1, 2])
    dxx = 0.25 * (f[:, 2, 4] - 2 * f[:, 2, 2] + f[:, 2, 0])
    dyy = 0.25 * (f[:, 4, 2] - 2 * f[:, 2, 2] + f[:, 0, 2])
    dxy = 0.25 * (f[:, 3, 3] - f[:, 1, 3] - f[:, 3, 1] + f[:, 1, 1])
    return _newton_step(dx, dy, dxx, dyy, dxy)


def taylor_step_narrow(log_values: FloatArray) -> FloatArray:
    """(m, 2) as :func:`taylor_step_wide` from (m, 3, 3) log-values with the ±1 stencils of UDP."""
    f = log_values
    dx, dy = 0.5 * (f[:, 1, 2] - f[:, 1, 0]), 0.5 * (f[:, 2, 1] - f[:, 0, 1])
    dxx = f[:, 1, 2] - 2 * f[:, 1, 1] + f[:, 1, 0]
    dyy = f[:, 2, 1] - 2 * f[:, 1, 1] + f[:, 0, 1]
    dxy = 0.5 * (f[:, 2, 2] - f[:, 1, 2] - f[:, 2, 1] + 2 * f[:, 1, 1] - f[:, 1, 0] - f[:, 0, 1] + f[:, 0, 0])
    eps = np.finfo(np.float32).eps
    return _newton_step(dx, dy, dxx + eps, dyy + eps, dxy)


def _newton_step(dx: FloatArray, dy: FloatArray, dxx: FloatArray, dyy: FloatArray, dxy: FloatArray) -> FloatArray:
    det = dxx * dyy - dxy * dxy
    ok = det != 0
    safe = np.where(ok, det, 1.0)
    step = np.stack([-(dyy * dx - dxy * dy) / safe, -(dxx * dy - dxy * dx) / safe], axis=-1)
    ok &= (np.abs(step) <= _LONGEST_STEP).all(axis=-1)
    return np.where(ok[:, None], step, 0.0)


def parabola_step(values: FloatArray) -> FloatArray:
    """(m, 2) step along x and y to the top of a log-parabola through (m, 3, 3) values around a local maximum.

    Exact for a noise-free Gaussian.  At most half a cell, as the centre is the largest value; 0 on a plateau.
    """
    centre = values[:, 1, 1]
    floor = np.maximum(1e-3 * centre, 1e-10)[:, None, None]
    log = np.log(np.maximum(values, floor))
    before = np.stack([log[:, 1, 0], log[:, 0, 1]], axis=-1)
    after = np.stack([log[:, 1, 2], log[:, 2, 1]], axis=-1)
    bend = before - 2 * log[:, 1, 1][:, None] + after
    step = np.divide(before - after, 2 * bend, out=np.zeros_like(bend), where=bend < 0)
    return np.asarray(np.clip(step, -0.5, 0.5))


def interior(cell: IntArray, maps: Float32Array, low: int, high: int) -> BoolArray:
    """(m,) True where ``low < column < w − high`` and ``low < row < h − high`` of maps (m, h, w)."""
    h, w = maps.shape[1:]
    col, row = cell[:, 0], cell[:, 1]
    return np.asarray((col > low) & (col < w - high) & (row > low) & (row < h - high))
