"""From the picture in a file to the picture of a view: cut out, turned, mirrored — in this order — and back for points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from label_config.values import ByteArray, FloatArray, ImageRef
from ml_backend.recordings.picture_errors import UnreadableImageError

_ROTATIONS = (0, 90, 180, 270)


@dataclass(frozen=True)
class ViewTransform:
    """What makes the picture of a view of the upright decoded picture.

    part           (x, y, width, height) in pixels of the decoded picture
    quarter_turns  clockwise, after cutting out
    flip           mirrored left to right, last
    """

    part: tuple[int, int, int, int]
    quarter_turns: int = 0
    flip: bool = False

    @classmethod
    def of(cls, ref: ImageRef, source_size_px: tuple[int, int]) -> ViewTransform:
        """That of a reference into a picture of this size.  Raises UnreadableImageError when the crop does not lie inside."""
        if ref.rotation not in _ROTATIONS:
            raise UnreadableImageError(ref.source, f"rotation: expected one of {_ROTATIONS} degrees, got {ref.rotation}")
        part = ref.crop or (0, 0, *source_size_px)
        x, y, width, height = part
        if x < 0 or y < 0 or width < 1 or height < 1 or x + width > source_size_px[0] or y + height > source_size_px[1]:
            size = f"{source_size_px[0]} × {source_size_px[1]}"
            raise UnreadableImageError(ref.source, f"crop {part} (x, y, width, height) does not lie inside the {size} picture")
        return cls(part, ref.rotation // 90, ref.flip)

    @classmethod
    def of_view(cls, ref: ImageRef) -> ViewTransform:
        """That of a reference whose view has a known size.  Raises UnreadableImageError when it has not."""
        if ref.crop is not None:
            return cls(ref.crop, ref.rotation // 90, ref.flip)
        if ref.size_px is None:
            raise UnreadableImageError(ref.source, "the size of its view is not known")
        return cls.of(ref, ref.size_px[::-1] if ref.rotation in (90, 270) else ref.size_px)

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the view."""
        _, _, width, height = self.part
        return (height, width) if self.quarter_turns % 2 else (width, height)

    def picture(self, decoded: ByteArray) -> ByteArray:
        """(h, w, 3) decoded picture → (h', w', 3) picture of the view."""
        x, y, width, height = self.part
        turned = np.rot90(decoded[y : y + height, x : x + width], -self.quarter_turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.flip else turned)

    def to_view(self, xy_source: FloatArray) -> FloatArray:
        """(..., 2) pixels of the decoded picture → pixels of the view."""
        left, top, width, height = self.part
        xy = np.asarray(xy_source, dtype=np.float64) - np.array([left, top], dtype=np.float64)
        for _ in range(self.quarter_turns):
            xy = np.stack([height - 1 - xy[..., 1], xy[..., 0]], axis=-1)
            width, height = height, width
        return np.stack([width - 1 - xy[..., 0], xy[..., 1]], axis=-1) if self.flip else xy

    def to_source(self, xy_view: FloatArray) -> FloatArray:
        """(..., 2) pixels of the view → pixels of the decoded picture: the inverse of :meth:`to_view`."""
        width, height = self.size_px
        xy = np.asarray(xy_view, dtype=np.float64)
        if self.flip:
            xy = np.stack([width - 1 - xy[..., 0], xy[..., 1]], axis=-1)
        for _ in range(self.quarter_turns):
            width, height = height, width
            xy = np.stack([xy[..., 1], height - 1 - xy[..., 0]], axis=-1)
        return xy + np.array(self.part[:2], dtype=np.float64)
