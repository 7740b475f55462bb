"""The subject's box in the data of a task: where to look, when somebody or another tool knows already."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from label_config.values import Box
from label_config.values.errors import LabellingConfigError


def read_boxes(value: object, views: Sequence[str]) -> dict[str, Box]:
    """View → box, from ``{view: [x, y, width, height]}`` or, where a task shows one view, from the four numbers alone.

    Pixels of the picture, x and y of the left and upper edge; the picture itself is [0, 0, width, height].  A view with null,
    or without an entry, has no box.  Raises BadInputError for anything else.
    """
    if value is None:
        return {}
    if isinstance(value, list) and len(views) == 1:
        value = {views[0]: value}
    if not isinstance(value, Mapping):
        four = " or [x, y, width, height]" if len(views) == 1 else ""
        raise LabellingConfigError(f"expected {{view: [x, y, width, height]}}{four} in pixels, got {_short(value)}")
    unknown = [str(view) for view in value if view not in views]
    if unknown:
        raise LabellingConfigError(f"expected boxes of the views {', '.join(views)}, got one of {_short(unknown[0])}")
    return {view: _box(view, four) for view, four in value.items() if four is not None}


def _box(view: str, value: object) -> Box:
    if isinstance(value, list) and len(value) == 4 and all(_is_number(part) for part in value):
        x, y, width, height = map(float, value)
        if width > 0 and height > 0:
            return x, y, width, height
    if isinstance(value, list) and len(value) > 1 and all(isinstance(part, list | dict) for part in value):
        raise LabellingConfigError(
            f"{view}: expected the box of one subject, [x, y, width, height], got {len(value)} boxes; Parallax labels one "
            "subject per frame and cannot know which is meant: give the same subject's box in every camera"
        )
    raise LabellingConfigError(f"{view}: expected [x, y, width, height] in pixels, the last two above 0, got {_short(value)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9 and math.isfinite(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
