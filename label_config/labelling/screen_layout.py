"""How pictures and labels are laid out on the labelling screen, so that all cameras of a frame are in sight at once.

The number of columns is the one that shows the pictures largest on the screens of ``REFERENCE_PX``; pictures then grow and shrink
with the window, and none becomes higher than its share of it.  Sizes of Label Studio's own parts are those of 1.23.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: (width, height) of the browser's window for which columns are chosen: a laptop's screen and a desk's.
REFERENCE_PX = ((1600, 1000), (1920, 1200))
#: Label Studio's bars above and below, its side panels (as wide as they open), and the line with the reason.
_BARS_PX, _PANELS_PX, _REASON_PX = 130, 348, 26
#: Room beside a picture for its tools, and the gap between cells.
TOOLS_PX, GAP_PX = 42, 4
#: The row with the camera's name and the visibility choice.
TITLE_PX = 26
_CHIP_PX = 17
#: Width of a letter of a label, and what else a label takes: its edges, its key.
_LETTER_PX, _CHIP_EDGES_PX = 6.0, 24.0
#: Labels take at most so many lines, the others are scrolled to.
_MOST_LINES = 5
#: Where no shape is known: most cameras.
USUAL_SIZE = (16, 9)
#: Everything below is inside the element with this class.
CLASS = "parallax-screen"

#: The row of a cell with the camera's name and, when a point is selected, its visibility choice.
TITLE_STYLE = f"display: flex; justify-content: space-between; height: {TITLE_PX}px; overflow: hidden"


@dataclass(frozen=True)
class ScreenLayout:
    """columns of the grid; chip_lines of labels over each picture; max_height of a picture, as CSS."""

    columns: int
    chip_lines: int
    max_height: str


def lay_out(sizes: Sequence[tuple[int, int]], labels: Sequence[str]) -> ScreenLayout:
    """The layout for pictures of these (width, height), one per camera, and these labels."""
    count = len(sizes)
    aspect = sum(width / height for width, height in sizes) / count  # that of the usual picture; cells are all alike
    columns = max(range(1, count + 1), key=lambda columns: (_shown(count, columns, aspect, labels), -columns))
    lines = _lines(labels, _cell_width(REFERENCE_PX[0][0], columns))
    rows = math.ceil(count / columns)
    above = TITLE_PX + lines * _CHIP_PX + GAP_PX
    return ScreenLayout(columns, lines, f"calc((100vh - {_BARS_PX + _REASON_PX}px) / {rows} - {above}px)")


def grid_style(layout: ScreenLayout) -> str:
    """CSS of the element that holds one cell per camera."""
    return f"display: grid; grid-template-columns: repeat({layout.columns}, minmax(0, 1fr)); gap: {GAP_PX}px"


def style_of(layout: ScreenLayout) -> str:
    """CSS rules for everything inside the element with our class: small labels in a row of fixed height, narrow tools."""
    height = f"height: {layout.chip_lines * _CHIP_PX}px; overflow-y: auto"
    rules = {
        ".lsf-labels": f"margin: 0; gap: 2px 4px; align-content: flex-start; {height}",
        ".lsf-label": "margin: 0; padding: 0 3px 0 2px; border-left-width: 3px; font-size: 11px; line-height: 15px",
        ".lsf-label__hotkey": "margin-left: 3px; font-size: 10px",
        ".lsf-toolbar": "margin-top: 0; top: 0; width: 36px; overflow: hidden",
        ".lsf-choices": "margin: 0",
    }
    return " ".join(f".{CLASS} {selector} {{ {rule} }}" for selector, rule in rules.items())


def _cell_width(screen_px: int, columns: int) -> float:
    return (screen_px - _PANELS_PX) / columns - GAP_PX


def _shown(count: int, columns: int, aspect: float, labels: Sequence[str]) -> float:
    """Height of a picture in pixels, added up over the reference screens."""
    total = 0.0
    for width, height in REFERENCE_PX:
        cell = _cell_width(width, columns)
        above = TITLE_PX + _lines(labels, cell) * _CHIP_PX + GAP_PX
        room = (height - _BARS_PX - _REASON_PX) / math.ceil(count / columns) - above
        total += min(max(room, 0.0), max(cell - TOOLS_PX, 0.0) / aspect)
    return total


def _lines(labels: Sequence[str], width: float) -> int:
    """Lines that the labels take in a cell of this width."""
    lines, left = 1, width
    for label in labels:
        taken = len(label) * _LETTER_PX + _CHIP_EDGES_PX
        if taken > left:
            lines, left = lines + 1, width
        left -= taken
    return min(lines, _MOST_LINES)
