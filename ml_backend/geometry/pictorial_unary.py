"""Unary terms of a 3-D pictorial structure: what the views say about every voxel (docs/methods.md §4.1–4.2).

Every view multiplies the belief of keypoint ``k`` at voxel ``s`` by ``h(π(s)) + floor``; sums of logarithms are kept here.

* ``floor`` stands for the view being wrong about the keypoint: without it one bad view vetoes all others.
* A view without a picture or without a prediction for the keypoint multiplies by 1 everywhere.
* A voxel that the view cannot see (outside its crop or picture, or behind the camera) is neither wanted nor vetoed: it gets
  the mean of ``h + floor`` over the crop, what one would expect knowing nothing.  ``veto_unseen`` gives it the bare floor
  instead, as the released code of Pavlakos et al. (2017) does.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from label_config.values import BadInputError, BoolArray, Float32Array, FloatArray


def voxel_points(centre_world: FloatArray, side_world: float, grid: int) -> FloatArray:
    """(G³, 3) world coordinates of the voxels of a cube, first axis slowest; outermost voxels lie on its faces."""
    offset = np.linspace(-side_world / 2, side_world / 2, grid)
    mesh = np.meshgrid(offset, offset, offset, indexing="ij")
    return np.stack(mesh, axis=-1).reshape(-1, 3) + centre_world


def heatmap_unary(
    voxel_px: FloatArray, heatmaps: Float32Array, heatmap_from_image: FloatArray, *, floor: float, veto_unseen: bool = False
) -> tuple[Float32Array, BoolArray]:
    """Log unary terms from heatmaps by bilinear look-up.

    voxel_px            (V, S, 2) voxels in image pixels, NaN behind the camera
    heatmaps            (V, K, h, w) unit training amplitude; negative values count as 0; a map with NaN is missing
    heatmap_from_image  (V, 2, 3) affine map image pixels → heatmap cells (cell centres at whole numbers); NaN = view missing

    Returns (K, S) float32 logarithms and (K,) True where at least one view had a heatmap.
    """
    views, keypoints, height, width = heatmaps.shape
    _expect("voxel_px", voxel_px.shape, (views, voxel_px.shape[1], 2))
    _expect("heatmap_from_image", heatmap_from_image.shape, (views, 2, 3))
    total = np.zeros((voxel_px.shape[1], keypoints), dtype=np.float32)
    seen = np.zeros(keypoints, dtype=np.bool_)
    for v in range(views):
        present = np.isfinite(heatmaps[v]).all(axis=(1, 2)) & np.isfinite(heatmap_from_image[v]).all()
        if not present.any():
            continue
        seen |= present
        cell = voxel_px[v] @ heatmap_from_image[v, :, :2].T + heatmap_from_image[v, :, 2]
        look_up, inside = _bilinear(cell, height, width)
        values = np.maximum(heatmaps[v], 0).reshape(keypoints, -1).T
        term = look_up @ np.ascontiguousarray(np.where(present, values, 0), dtype=np.float32)
        term[~inside] = 0 if veto_unseen else values.mean(axis=0)
        term += np.float32(floor)
        np.log(term, out=term)
        term[:, ~present] = 0
        total += term
    return np.ascontiguousarray(total.T), seen


def point_unary(
    voxel_px: FloatArray,
    xy_px: FloatArray,
    confidence: FloatArray | None,
    sigma_px: FloatArray,
    size_px: FloatArray,
    *,
    floor: float,
    veto_unseen: bool = False,
) -> tuple[Float32Array, BoolArray]:
    """Log unary terms from points: Gaussians of height ``confidence`` and standard deviation ``sigma_px``.

    voxel_px    (V, S, 2) voxels in image pixels, NaN behind the camera
    xy_px       (V, K, 2) image pixels, NaN = no point
    confidence  (V, K) in [0, 1], NaN = no point; None = 1 for all
    sigma_px    (V,) image pixels
    size_px     (V, 2) width and height of the pictures

    Returns as :func:`heatmap_unary`.
    """
    views, keypoints = xy_px.shape[:2]
    weight = np.ones((views, keypoints)) if confidence is None else np.asarray(confidence, dtype=np.float64)
    _expect("voxel_px", voxel_px.shape, (views, voxel_px.shape[1], 2))
    _expect("confidence", weight.shape, (views, keypoints))
    _expect("sigma_px", sigma_px.shape, (views,))
    _expect("size_px", size_px.shape, (views, 2))
    present = np.isfinite(xy_px).all(axis=2) & np.isfinite(weight)
    total = np.zeros((keypoints, voxel_px.shape[1]), dtype=np.float32)
    for v in range(views):
        inside = _inside(voxel_px[v], size_px[v, 0], size_px[v, 1])
        scaled = np.where(inside[:, None], voxel_px[v], 0).T.astype(np.float32) / np.float32(np.sqrt(2) * sigma_px[v])
        blob_area = 2 * np.pi * sigma_px[v] ** 2 / size_px[v].prod()
        for k in np.flatnonzero(present[v]):
            x, y = xy_px[v, k] / (np.sqrt(2) * sigma_px[v])
            term = (scaled[0] - np.float32(x)) ** 2 + (scaled[1] - np.float32(y)) ** 2
            np.exp(-term, out=term)
            term *= np.float32(weight[v, k])
            term[~inside] = 0 if veto_unseen else weight[v, k] * min(blob_area, 1.0)
            term += np.float32(floor)
            total[k] += np.log(term, out=term)
    return total, np.asarray(present.any(axis=0))


def _inside(xy: FloatArray, width: float, height: float) -> BoolArray:
    """(S, 2) positions → (S,) True on a picture of that size; False for NaN (behind the camera)."""
    x, y = xy[:, 0], xy[:, 1]
    return np.asarray((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5))


def _bilinear(cell: FloatArray, height: int, width: int) -> tuple[sparse.csr_matrix, BoolArray]:
    """(S, 2) positions in cells → (S, h·w) interpolation matrix, and (S,) True where the position is on the map."""
    inside = _inside(cell, width, height)
    x = np.clip(np.where(inside, cell[:, 0], 0), 0, width - 1).astype(np.float32)
    y = np.clip(np.where(inside, cell[:, 1], 0), 0, height - 1).astype(np.float32)
    left = np.minimum(x.astype(np.int32), max(width - 2, 0))
    top = np.minimum(y.astype(np.int32), max(height - 2, 0))
    right, bottom = min(1, width - 1), min(1, height - 1) * width
    corners = np.array([0, right, bottom, bottom + right], dtype=np.int32)
    columns = (top * np.int32(width) + left)[:, None] + corners
    x -= left
    y -= top
    weight = np.stack(((1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y), axis=1)
    starts = np.arange(0, weight.size + 1, 4, dtype=np.int32)
    return sparse.csr_matrix((weight.ravel(), columns.ravel(), starts), shape=(len(cell), height * width)), inside


def _expect(name: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        raise BadInputError(f"pictorial structure: {name}: expected shape {expected}, got {got}")
