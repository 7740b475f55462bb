"""Crops: the affine map image → network input → heatmap, exact at pixel centres.

Coordinates have their origin at the centre of the top-left pixel.  A box (x, y, width, height) *covers* the pixels
x … x + width − 1, so its left edge lies at x − ½: (0, 0, W, H) is the whole picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import cv2
import numpy as np

from label_config.values import BadInputError, Box, ByteArray, FloatArray

#: How two grids of different size lie on one another.
#: "centre": cells are areas, as resampling sees them (and flips preserve); "udp": the outermost centres coincide;
#: "stride": cell 0 lies on cell 0 (SimpleBaseline, HRNet).
Grid = Literal["centre", "udp", "stride"]


def padded_box(box_px: Box, aspect: float, scale: float = 1.25) -> Box:
    """The box around the same centre, widened or heightened to ``aspect`` = width / height, then enlarged by ``scale``."""
    x, y, w, h = _checked_box(box_px)
    if not (0 < aspect < math.inf and 0 < scale < math.inf):
        raise BadInputError(f"crop: expected aspect and scale > 0, got {aspect} and {scale}")
    centre_x, centre_y = x + 0.5 * w, y + 0.5 * h
    w, h = max(w, h * aspect) * scale, max(h, w / aspect) * scale
    return centre_x - 0.5 * w, centre_y - 0.5 * h, w, h


def box_around(xy_px: FloatArray) -> Box | None:
    """The tightest box covering the pixels of all finite points (..., 2); None without one."""
    given = _checked_points(xy_px).reshape(-1, 2)
    points = given[np.isfinite(given).all(axis=1)]
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0] + 1), float(high[1] - low[1] + 1)


@dataclass(frozen=True)
class CropTransform:
    """One crop of one picture as the network sees it.

    box_px        (x, y, width, height) in image pixels; give it the input's aspect with :func:`padded_box`
    input_px      (width, height) of the network's input
    heatmap_px    (width, height) of its output maps
    rotation_deg  clockwise on the screen, about the centre of the box
    scale         > 1 shows the content larger
    shift         (x, y) move of the content in fractions of the box
    flip          mirrored left to right, after all else
    grid          relation of the three pixel grids, see :data:`Grid`
    """

    box_px: Box
    input_px: tuple[int, int]
    heatmap_px: tuple[int, int]
    rotation_deg: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    flip: bool = False
    grid: Grid = "centre"

    def __post_init__(self) -> None:
        _checked_box(self.box_px)
        least = 2 if self.grid == "udp" else 1
        for name, (w, h) in (("input_px", self.input_px), ("heatmap_px", self.heatmap_px)):
            if min(w, h) < least:
                raise BadInputError(f"crop: {name} must be at least {least}×{least} for grid {self.grid!r}, got {w}×{h}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise BadInputError(f"crop: scale must be a positive number, got {self.scale!r}")
        if not all(math.isfinite(value) for value in (self.rotation_deg, *self.shift)):
            raise BadInputError(f"crop: expected a finite rotation and shift, got {self.rotation_deg} and {self.shift}")
        if self.grid not in get_args(Grid):
            raise BadInputError(f"crop: expected a grid among {', '.join(get_args(Grid))}, got {self.grid!r}")

    @cached_property
    def matrix(self) -> FloatArray:
        """(3, 3) image pixels → input pixels."""
        x, y, w, h = self.box_px
        centre = np.array([x + 0.5 * (w - 1), y + 0.5 * (h - 1)])
        angle = math.radians(self.rotation_deg)
        turn = self.scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        augment = np.eye(3)
        augment[:2, :2] = turn
        augment[:2, 2] = centre - turn @ centre + np.array(self.shift) * (w, h)
        to_box = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]])
        matrix = _between((w, h), self.input_px, self.grid) @ to_box @ augment
        if self.flip:
            matrix = np.array([[-1.0, 0.0, self.input_px[0] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ matrix
        return np.asarray(matrix)

    @cached_property
    def heatmap_matrix(self) -> FloatArray:
        """(3, 3) image pixels → heatmap pixels."""
        return np.asarray(_between(self.input_px, self.heatmap_px, self.grid) @ self.matrix)

    def image_to_input(self, xy_px: FloatArray) -> FloatArray:
        """Points (..., 2); what is not finite becomes NaN, here and below."""
        return _apply(self.matrix, xy_px)

    def input_to_image(self, xy_input: FloatArray) -> FloatArray:
        """Inverse of :meth:`image_to_input`."""
        return _apply(_inverse(self.matrix), xy_input)

    def image_to_heatmap(self, xy_px: FloatArray) -> FloatArray:
        """Points (..., 2) in the frame of the codecs."""
        return _apply(self.heatmap_matrix, xy_px)

    def heatmap_to_image(self, xy_hm: FloatArray) -> FloatArray:
        """Inverse of :meth:`image_to_heatmap`."""
        return _apply(_inverse(self.heatmap_matrix), xy_hm)

    def extract(self, image: ByteArray) -> ByteArray:
        """uint8 (h, w, 3) input of the network; black where the box leaves the picture.

        Where the picture shrinks to half or less it is averaged first, so that nothing aliases.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise BadInputError(f"crop: expected a picture uint8 (h, w, 3) with h, w > 0, got {image.dtype} {image.shape}")
        matrix = self.matrix
        factor = int(1 / math.sqrt(abs(np.linalg.det(matrix[:2, :2]))) + 1e-9)
        if factor >= 2:
            image, to_small = self._shrink(image, factor)
            matrix = matrix @ _inverse(to_small)
        crop = cv2.warpAffine(image, matrix[:2], self.input_px, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return np.asarray(crop, dtype=np.uint8)

    def _shrink(self, image: ByteArray, factor: int) -> tuple[ByteArray, FloatArray]:
        """The part of the picture that the crop sees, averaged over factor × factor pixels, and image → that part (3, 3)."""
        height, width = image.shape[:2]
        w, h = self.input_px
        corners = self.input_to_image(np.array([[-1.0, -1.0], [w, -1.0], [-1.0, h], [w, h]]))
        low = np.clip(np.floor(corners.min(axis=0)).astype(int) - factor, 0, [width - 1, height - 1])
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + factor + 1, low + 1, [width, height])
        part = image[low[1] : high[1], low[0] : high[0]]
        extra_y, extra_x = -part.shape[0] % factor, -part.shape[1] % factor
        even = cv2.copyMakeBorder(part, 0, extra_y, 0, extra_x, cv2.BORDER_CONSTANT)
        small = cv2.resize(even, (even.shape[1] // factor, even.shape[0] // factor), interpolation=cv2.INTER_AREA)
        offset = 0.5 / factor - 0.5
        to_small = np.array([[1 / factor, 0, offset - low[0] / factor], [0, 1 / factor, offset - low[1] / factor], [0, 0, 1.0]])
        return np.asarray(small, dtype=np.uint8), to_small


def _between(source: tuple[float, float], target: tuple[float, float], grid: Grid) -> FloatArray:
    """(3, 3) from a grid of source = (w, h) cells to one of target = (w, h) cells over the same content."""
    matrix = np.eye(3)
    for axis in (0, 1):
        if grid == "udp":
            matrix[axis, axis] = (target[axis] - 1) / (source[axis] - 1)
        else:
            ratio = target[axis] / source[axis]
            matrix[axis, axis] = ratio
            matrix[axis, 2] = 0.5 * (ratio - 1) if grid == "centre" else 0.0
    return matrix


def _inverse(matrix: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _apply(matrix: FloatArray, xy: FloatArray) -> FloatArray:
    return np.asarray(_checked_points(xy) @ matrix[:2, :2].T + matrix[:2, 2])


def _checked_points(xy: FloatArray) -> FloatArray:
    """(..., 2) float64, infinities as NaN."""
    points = np.asarray(xy, dtype=np.float64)
    if points.shape[-1:] != (2,):
        raise BadInputError(f"crop: expected points of shape (..., 2), got {points.shape}")
    return np.where(np.isinf(points), np.nan, points)


def _checked_box(box_px: Box) -> Box:
    if len(box_px) != 4 or not (all(math.isfinite(v) for v in box_px) and min(box_px[2:]) > 0):
        raise BadInputError(f"crop: expected a finite box (x, y, width, height) with positive size, got {box_px}")
    return box_px
