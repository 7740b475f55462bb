"""The subject's box in the data of a task: where to look, when somebody or another tool knows already."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from label_config.values import DEFAULT_SUBJECT, Box
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


def read_boxes_of_subjects(value: object, views: Sequence[str], most: int) -> dict[str, dict[int, Box]]:
    """View → number of the subject → box, where a frame may hold ``most`` subjects.

    A view has a list: the place in it is the subject's number, the same in every camera; null is a subject that the camera does
    not show.  ``{"id": 2, "box": [x, y, width, height]}`` in place of the four numbers says the number itself, and
    ``{"box": [x, y, width, height]}`` says that nobody knows it (:func:`have_numbers`): the number is then the place in this list
    and means nothing.  Where ``most`` is 1, or a view has four numbers, they are of subject 0 (:func:`read_boxes`).  Raises
    BadInputError for anything else.
    """
    if isinstance(value, list) and len(views) == 1:
        value = {views[0]: value}
    if most == 1 or not isinstance(value, Mapping):
        return {view: {DEFAULT_SUBJECT: box} for view, box in read_boxes(value, views).items()}
    several = {view: of_view for view, of_view in value.items() if _is_list_of_boxes(of_view)}
    found = {view: {DEFAULT_SUBJECT: box} for view, box in read_boxes({**value, **dict.fromkeys(several)}, views).items()}
    if have_numbers(value):
        return {**found, **{view: _numbered(view, of_view, most) for view, of_view in several.items()}}
    for view, of_view in several.items():
        if found or any(given is not None and not _is_without_number(given) for given in of_view):
            raise LabellingConfigError(
                f"{view}: expected a number for every box of a task, or for none, got some with and some without"
            )
    return {view: dict(enumerate(_box(view, one["box"]) for one in of if one is not None)) for view, of in several.items()}


def have_numbers(value: object) -> bool:
    """Whether the boxes say whose they are; False where a list holds one of which nobody knows it."""
    lists = value.values() if isinstance(value, Mapping) else [value]
    return not any(_is_without_number(given) for of_view in lists if isinstance(of_view, list) for given in of_view)


def _is_without_number(given: object) -> bool:
    return isinstance(given, Mapping) and "box" in given and given.get("id") is None


def _is_list_of_boxes(value: object) -> bool:
    return isinstance(value, list) and (not value or any(part is None or isinstance(part, list | Mapping) for part in value))


def _numbered(view: str, boxes: Sequence[object], most: int) -> dict[int, Box]:
    found: dict[int, Box] = {}
    for place, given in enumerate(boxes):
        if given is None:
            continue
        number, box = (given.get("id"), given.get("box")) if isinstance(given, Mapping) else (place, given)
        if type(number) is not int or not 0 <= number < most:
            raise LabellingConfigError(
                f"{view}: expected at most {most} subjects, numbered from 0 to {most - 1} (subjects.max), "
                f"got number {_short(number)}"
            )
        if number in found:
            raise LabellingConfigError(f"{view}: expected one box for each subject, got two for number {number}")
        found[number] = _box(view, box)
    return found


def _box(view: str, value: object) -> Box:
    if isinstance(value, list) and len(value) == 4 and all(_is_number(part) for part in value):
        x, y, width, height = map(float, value)
        if width > 0 and height > 0:
            return x, y, width, height
    if isinstance(value, list) and len(value) > 1 and all(isinstance(part, list | dict) for part in value):
        raise LabellingConfigError(
            f"{view}: expected the box of one subject, [x, y, width, height], got {len(value)} boxes; give the same subject's "
            "box in every camera, or say in subjects.max of parallax.yaml how many a frame may hold"
        )
    raise LabellingConfigError(f"{view}: expected [x, y, width, height] in pixels, the last two above 0, got {_short(value)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9 and math.isfinite(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
