"""From the picture in a file to the picture of a view: turned, cut out, mirrored — in this order — and back for points."""

from __future__ import annotations

import numpy as np

from label_config.values import ByteArray, FloatArray, ImageRef
from ml_backend.recordings.errors import UnreadableImageError

_ROTATIONS = (0, 90, 180, 270)


def to_view(picture: ByteArray, ref: ImageRef) -> ByteArray:
    """(h, w, 3) decoded picture → (h', w', 3) picture of the view.  ``ref.crop`` is in pixels of the turned picture.

    Raises UnreadableImageError when the crop does not lie inside.
    """
    turned = np.rot90(picture, -_quarter_turns(ref))
    if ref.crop is not None:
        x, y, width, height = ref.crop
        check_crop(ref, (turned.shape[1], turned.shape[0]))
        turned = turned[y : y + height, x : x + width]
    if ref.flip:
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def view_size(ref: ImageRef, source_size_px: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the view of a source picture of this size."""
    width, height = source_size_px
    turned = (height, width) if _quarter_turns(ref) % 2 else (width, height)
    if ref.crop is None:
        return turned
    check_crop(ref, turned)
    return ref.crop[2], ref.crop[3]


def points_to_view(xy_source: FloatArray, ref: ImageRef, source_size_px: tuple[int, int]) -> FloatArray:
    """(..., 2) pixels of the decoded picture → pixels of the view."""
    width, height = source_size_px
    xy = np.asarray(xy_source, dtype=np.float64)
    for _ in range(_quarter_turns(ref)):
        xy = np.stack([height - 1 - xy[..., 1], xy[..., 0]], axis=-1)
        width, height = height, width
    if ref.crop is not None:
        xy = xy - np.array(ref.crop[:2], dtype=np.float64)
        width = ref.crop[2]
    return np.stack([width - 1 - xy[..., 0], xy[..., 1]], axis=-1) if ref.flip else xy


def points_to_source(xy_view: FloatArray, ref: ImageRef, source_size_px: tuple[int, int]) -> FloatArray:
    """(..., 2) pixels of the view → pixels of the decoded picture: the inverse of :func:`points_to_view`."""
    xy = np.asarray(xy_view, dtype=np.float64)
    if ref.flip:
        xy = np.stack([view_size(ref, source_size_px)[0] - 1 - xy[..., 0], xy[..., 1]], axis=-1)
    if ref.crop is not None:
        xy = xy + np.array(ref.crop[:2], dtype=np.float64)
    width, height = source_size_px if _quarter_turns(ref) % 2 == 0 else source_size_px[::-1]
    for _ in range(_quarter_turns(ref)):
        width, height = height, width
        xy = np.stack([xy[..., 1], height - 1 - xy[..., 0]], axis=-1)
    return xy


def check_crop(ref: ImageRef, turned_size_px: tuple[int, int]) -> None:
    """Raise UnreadableImageError unless the view's crop lies inside a picture of this size."""
    if ref.crop is None:
        return
    x, y, width, height = ref.crop
    if x < 0 or y < 0 or width < 1 or height < 1 or x + width > turned_size_px[0] or y + height > turned_size_px[1]:
        raise UnreadableImageError(
            ref.source,
            f"crop {ref.crop} (x, y, width, height) does not lie inside the {turned_size_px[0]} × {turned_size_px[1]} picture",
        )


def _quarter_turns(ref: ImageRef) -> int:
    if ref.rotation not in _ROTATIONS:
        raise UnreadableImageError(ref.source, f"rotation: expected one of {_ROTATIONS} degrees, got {ref.rotation}")
    return ref.rotation // 90
