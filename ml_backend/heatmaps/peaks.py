"""Local maxima of heatmaps: every place where a keypoint could be."""

from __future__ import annotations

import numpy as np

from label_config.values import BadInputError, BoolArray, Float32Array, FloatArray, IntArray
from ml_backend.heatmaps.subpixel import parabola_step

#: Maps handled at once; their working set stays in the processor's cache.
_CHUNK_CELLS = 1 << 17


def find_peaks(
    heatmaps: Float32Array,
    *,
    keep: int = 5,
    radius_hm: float = 5.0,
    threshold: float = 0.05,
    relative_threshold: float = 0.1,
    candidates: int = 8,
    subpixel: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Local maxima of maps (..., h, w) at unit amplitude, strongest first.

    A cell is a maximum when no neighbour among its eight is larger; of equal neighbours the first in raster order
    counts.  It must reach max(threshold, relative_threshold · the map's largest value).  Of the strongest
    ``candidates`` each suppresses weaker ones within ``radius_hm``; at most ``keep`` remain.  The border counts.
    Returns xy_hm (..., keep, 2) float64 and value (..., keep) float64, NaN-padded.  Cells that are not finite are
    never maxima.
    """
    maps = _flat(heatmaps, "find_peaks")
    w = maps.shape[2]
    owner, cell, value = _local_maxima(maps, threshold, relative_threshold)
    cell_table, value_table = _strongest(owner, cell, value, len(maps), candidates)
    xy, values = _suppress(cell_table, value_table, w, radius_hm, keep)
    if subpixel:
        present = np.isfinite(values)
        owner = np.nonzero(present)[0]
        xy[present] += _steps(maps, owner, xy[present].astype(np.int64))
    return xy.reshape(*heatmaps.shape[:-2], keep, 2), values.reshape(*heatmaps.shape[:-2], keep)


def _flat(heatmaps: Float32Array, caller: str) -> Float32Array:
    """(..., h, w) → (m, h, w)."""
    if heatmaps.ndim < 2 or 0 in heatmaps.shape[-2:]:
        raise BadInputError(f"{caller}: expected heatmaps of shape (..., h, w) with h, w > 0, got {heatmaps.shape}")
    return heatmaps.reshape(-1, *heatmaps.shape[-2:])


def _local_maxima(maps: Float32Array, threshold: float, relative: float) -> tuple[IntArray, IntArray, FloatArray]:
    """Map, flat cell and value of every local maximum above the threshold, in raster order of each map."""
    step = max(1, _CHUNK_CELLS // (maps.shape[1] * maps.shape[2]))
    owners: list[IntArray] = [np.zeros(0, np.int64)]
    cells: list[IntArray] = [np.zeros(0, np.int64)]
    values: list[FloatArray] = [np.zeros(0)]
    for start in range(0, len(maps), step):
        owner, cell, value = _chunk_maxima(maps[start : start + step], threshold, relative)
        owners.append(owner + start)
        cells.append(cell)
        values.append(value)
    return np.concatenate(owners), np.concatenate(cells), np.concatenate(values)


def _chunk_maxima(maps: Float32Array, threshold: float, relative: float) -> tuple[IntArray, IntArray, FloatArray]:
    """As :func:`_local_maxima` for as many maps as fit the cache."""
    m, h, w = maps.shape
    # With a border of −inf a neighbour is a constant offset in the flat buffer, so that every operation below runs
    # over one contiguous stretch of memory.
    wide = w + 2
    buffer = np.full((m, h + 2, wide), -np.inf, dtype=np.float32)
    buffer[:, 1:-1, 1:-1] = maps
    flat = buffer.reshape(-1)
    if not np.isfinite(maps).all():
        flat[~np.isfinite(flat)] = -np.inf
    floor = np.maximum(threshold, relative * buffer.reshape(m, -1).max(axis=1)).astype(np.float32)
    above = buffer.reshape(m, -1) >= floor[:, None]
    size = len(flat)
    across = np.maximum(flat[:-1], flat[1:])
    np.maximum(across[:-1], flat[2:], out=across[:-1])  # across[i] = largest of flat[i … i+2]
    largest = np.maximum(across[: size - 2 - 2 * wide], across[2 * wide : size - 2])
    np.maximum(largest, across[wide : size - 2 - wide], out=largest)  # its centre is flat[i + wide + 1]
    peak = np.zeros(size, dtype=np.bool_)
    np.greater_equal(flat[wide + 1 : size - wide - 1], largest, out=peak[wide + 1 : size - wide - 1])
    peak &= above.reshape(-1)
    at = np.flatnonzero(peak)
    value = flat[at]
    first = np.ones(len(at), dtype=np.bool_)
    for before in (1, wide - 1, wide, wide + 1):
        first &= flat[at - before] < value
    at, value = at[first], value[first]
    owner, cell = np.divmod(at, (h + 2) * wide)
    row, col = np.divmod(cell, wide)
    return owner, (row - 1) * w + (col - 1), value.astype(np.float64)


def _strongest(owner: IntArray, cell: IntArray, value: FloatArray, count: int, keep: int) -> tuple[IntArray, FloatArray]:
    """Tables (count, keep) of flat cell and value, strongest first, value NaN-padded; equal values in raster order."""
    order = np.lexsort((cell, -value, owner))
    owner, cell, value = owner[order], cell[order], value[order]
    start = np.searchsorted(owner, np.arange(count))
    rank = np.arange(len(owner)) - start[owner]
    within = rank < keep
    cells = np.zeros((count, keep), dtype=np.int64)
    values = np.full((count, keep), np.nan)
    cells[owner[within], rank[within]] = cell[within]
    values[owner[within], rank[within]] = value[within]
    return cells, values


def _suppress(cells: IntArray, values: FloatArray, width: int, radius: float, keep: int) -> tuple[FloatArray, FloatArray]:
    """Greedy suppression within ``radius``; what remains moves up into (count, keep) tables."""
    y, x = np.divmod(cells, width)
    alive: BoolArray = np.isfinite(values)
    for i in range(cells.shape[1] - 1):
        near = np.hypot(x[:, i + 1 :] - x[:, i : i + 1], y[:, i + 1 :] - y[:, i : i + 1]) <= radius
        alive[:, i + 1 :] &= ~(near & alive[:, i : i + 1])
    xy_out = np.full((len(cells), keep, 2), np.nan)
    value_out = np.full((len(cells), keep), np.nan)
    rank = np.cumsum(alive, axis=1) - 1
    owner, slot = np.nonzero(alive & (rank < keep))
    target = rank[owner, slot]
    xy_out[owner, target, 0], xy_out[owner, target, 1] = x[owner, slot], y[owner, slot]
    value_out[owner, target] = values[owner, slot]
    return xy_out, value_out


def _steps(maps: Float32Array, owner: IntArray, cell: IntArray) -> FloatArray:
    """(p, 2) sub-pixel steps of p maxima; along an axis on which the maximum touches the border the step is 0."""
    h, w = maps.shape[1:]
    col, row = np.clip(cell[:, :1] + [-1, 0, 1], 0, w - 1), np.clip(cell[:, 1:] + [-1, 0, 1], 0, h - 1)
    around = maps[owner[:, None, None], row[:, :, None], col[:, None, :]].astype(np.float64)
    step = parabola_step(np.nan_to_num(around, nan=0.0, posinf=0.0, neginf=0.0))
    inner = (cell > 0) & (cell < [w - 1, h - 1])
    return np.where(inner, step, 0.0)
