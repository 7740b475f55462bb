"""Between pixels and Label Studio's percent.

Label Studio measures from the outer corner of the top-left pixel, Parallax from the centre of that pixel:
``x_percent = 100 · (x_px + 0.5) / width``.  Corners of boxes are points like any other.
"""

from __future__ import annotations

#: Diameter of a point on the screen, percent of the picture's width.
POINT_WIDTH = 0.8

#: (subject, position of the view, position of the keypoint).
PointKey = tuple[int, int, int]
Size = tuple[int, int]


def to_percent(px: float, length: float) -> float:
    """Pixel coordinate along a side of ``length`` pixels → percent, clipped to the picture (above 100 Label Studio drops it)."""
    return min(max(100.0 * (px + 0.5) / length, 0.0), 100.0)


def to_px(percent: float, length: float) -> float:
    """Inverse of :func:`to_percent` inside the picture."""
    return percent * length / 100.0 - 0.5
