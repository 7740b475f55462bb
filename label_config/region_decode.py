"""The regions of a submitted annotation → Pose2D.

Nothing raises: what cannot be used becomes a Problem, and the rest goes on.

**Provenance** follows ``origin``: an untouched prediction is ACCEPTED, "prediction-changed" and "manual" are PLACED.
Without an origin (imported or bulk-accepted annotations) our own region id means ACCEPTED, any other PLACED.  A drawn
vector keeps the origin "prediction" when it is edited, which is one reason why vectors are not read.

**Subjects.**  A point belongs to the box that is its parent; without one to the subject in its id, when the id is ours;
else to the smallest box around it; else to DEFAULT_SUBJECT.  Boxes that a person drew are numbered per view in the
order of the list, by the lowest number that is free there.

**Two points for one keypoint of one subject**: the last in the list that a person placed or moved counts, else the last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from label_config.binding import Binding, ViewBinding
from label_config.problems import Problem, Severity
from label_config.region_frame import PointKey, Size, to_px
from label_config.region_ids import RegionId
from label_config.values import DEFAULT_SUBJECT, FloatArray, PointState, Pose2D, Provenance

#: Percent by which a point may lie outside the picture and still count, moved to its edge.
_TOLERANCE = 1.0
_LARGEST_SIDE = 10_000_000


@dataclass(frozen=True)
class DecodedAnnotation:
    """What a person submitted.

    poses     subject → pose; a subject about whom nothing was said is not there
    boxes_px  subject → (V, 4) left, top, width, height in the frame of the points; NaN = no box
    shown     the points that carry one of our region ids: which generation and which point was shown to the person
    unsized   views with regions that wait until the size of their picture is known: Label Studio keeps them in percent
    """

    poses: Mapping[int, Pose2D]
    boxes_px: Mapping[int, FloatArray]
    shown: Mapping[PointKey, RegionId]
    problems: tuple[Problem, ...]
    unsized: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Point:
    region: object
    parent: object
    position: int
    keypoint: int
    xy_px: tuple[float, float]
    touched: bool


@dataclass(frozen=True)
class _Box:
    region: object
    position: int
    box_px: tuple[float, float, float, float]

    def contains(self, xy_px: tuple[float, float]) -> bool:
        left, top, width, height = self.box_px
        return left <= xy_px[0] <= left + width and top <= xy_px[1] <= top + height


def decode(result: object, binding: Binding, *, sizes_px: Mapping[str, Size] | None = None) -> DecodedAnnotation:
    """Read the ``result`` of an annotation.

    sizes_px  view → (width, height) of the picture; where absent, the size that Label Studio wrote into the region
    """
    reader = _Reader(binding, sizes_px or {})
    if not isinstance(result, list):
        reader.report("error", f"annotation: expected a list of regions, got {type(result).__name__}; nothing of it is used")
        return DecodedAnnotation({}, {}, {}, tuple(reader.problems))
    regions = [region for region in result if isinstance(region, dict)]
    if len(regions) < len(result):
        reader.report(
            "error", f"annotation: {len(result) - len(regions)} of {len(result)} regions are no mappings; they are not used"
        )
    boxes = [box for region in regions if (box := reader.box(region)) is not None]
    points = [point for region in regions if (point := reader.point(region)) is not None]
    states = reader.states(regions)
    return reader.assemble(points, states, boxes)


class _Reader:
    """The regions of one annotation, one kind at a time, and the problems met on the way."""

    def __init__(self, binding: Binding, sizes_px: Mapping[str, Size]) -> None:
        self.binding = binding
        self.sizes_px = sizes_px
        self.problems: dict[Problem, None] = {}  # in order, each once
        self.unsized: set[str] = set()
        self._points = {view.keypoints: position for position, view in enumerate(binding.views)}
        self._boxes = {view.box: position for position, view in enumerate(binding.views) if view.box}

    def report(self, severity: Severity, message: str, view: str | None = None, keypoint: str | None = None) -> None:
        self.problems.setdefault(Problem(severity, message, view, keypoint))

    def point(self, region: Mapping[str, Any]) -> _Point | None:
        """A keypoint region; None when it is another kind or cannot be used."""
        position = _lookup(self._points, region.get("from_name"))
        if position is None and region.get("type") != "keypointlabels":
            return None
        if position is None:
            self.report(
                "error",
                f"control {_text(region.get('from_name'))} is not in the labelling config; its points are not used",
            )
            return None
        view = self.binding.views[position]
        keypoint = self._keypoint(region, view)
        value = _mapping(region.get("value"))
        if keypoint is None:
            return None
        name = self.binding.skeleton.keypoints[keypoint]
        size = self._size(region, view, name)
        if size is None:
            return None
        x, y = _number(value.get("x")), _number(value.get("y"))
        if x is None or y is None or not all(-_TOLERANCE <= part <= 100 + _TOLERANCE for part in (x, y)):
            got = f"x {_text(value.get('x'))}, y {_text(value.get('y'))}"
            self.report(
                "error",
                f"{view.view}, {name}: expected x and y between 0 and 100 percent, got {got}; the point is not used",
                view.view,
                name,
            )
            return None
        inside = (min(max(x, 0.0), 100.0), min(max(y, 0.0), 100.0))
        xy_px = (to_px(inside[0], size[0]), to_px(inside[1], size[1]))
        return _Point(region.get("id"), region.get("parentID"), position, keypoint, xy_px, _touched(region))

    def box(self, region: Mapping[str, Any]) -> _Box | None:
        """A subject's box; None when it is another kind or cannot be used."""
        position = _lookup(self._boxes, region.get("from_name"))
        if position is None or region.get("type") != "rectanglelabels":
            return None
        view = self.binding.views[position]
        value = _mapping(region.get("value"))
        numbers = [_number(value.get(name)) for name in ("x", "y", "width", "height")]
        size = self._size(region, view, None)
        if size is None:
            return None
        if any(number is None or abs(number) > 1000 for number in numbers) or _number(value.get("rotation") or 0) != 0:
            self.report("warning", f"{view.view}: a box without x, y, width and height, or a rotated one, is not used", view.view)
            return None
        x, y, width, height = (number for number in numbers if number is not None)
        return _Box(
            region.get("id"),
            position,
            (to_px(x, size[0]), to_px(y, size[1]), width * size[0] / 100.0, height * size[1] / 100.0),
        )

    def states(self, regions: Iterable[Mapping[str, Any]]) -> dict[str, tuple[PointState, bool]]:
        """Region id → (what was chosen for it, chosen by a person)."""
        controls = {view.visibility: view for view in self.binding.views if view.visibility}
        states: dict[str, tuple[PointState, bool]] = {}
        for region in regions:
            view = _lookup(controls, region.get("from_name"))
            name = region.get("id")
            if view is None or not isinstance(name, str):
                continue
            choices = _mapping(region.get("value")).get("choices")
            known = [view.states[c] for c in _texts(choices) if c in view.states]
            if known:
                states[name] = (known[-1], _touched(region))
            else:
                self.report(
                    "warning",
                    f"{view.view}: choice {_text(choices)} is not in the labelling config; it is not used",
                    view.view,
                )
        return states

    def assemble(
        self, points: list[_Point], states: Mapping[str, tuple[PointState, bool]], boxes: list[_Box]
    ) -> DecodedAnnotation:
        """One pose per subject."""
        subjects = _number_boxes(boxes)
        chosen: dict[PointKey, _Point] = {}
        for point in points:
            key = (self._subject(point, boxes, subjects), point.position, point.keypoint)
            previous = chosen.get(key)
            if previous is not None:
                view, name = self.binding.names[point.position], self.binding.skeleton.keypoints[point.keypoint]
                which = "the last that was placed or moved" if previous.touched or point.touched else "the last"
                self.report("warning", f"{view}, {name}: more than one point for subject {key[0]}; {which} is used", view, name)
            if previous is None or point.touched or not previous.touched:
                chosen[key] = point
        poses = {subject: Pose2D.empty(len(self.binding.views), len(self.binding.skeleton)) for subject, _, _ in chosen}
        shown: dict[PointKey, RegionId] = {}
        for key, point in chosen.items():
            _write(poses[key[0]], point, states.get(point.region) if isinstance(point.region, str) else None)
            ours = RegionId.parse(point.region)
            if ours is not None:
                shown[key] = ours
        arrays = self._box_arrays(boxes, subjects)
        return DecodedAnnotation(dict(sorted(poses.items())), arrays, shown, tuple(self.problems), frozenset(self.unsized))

    def _keypoint(self, region: Mapping[str, Any], view: ViewBinding) -> int | None:
        labels = _mapping(region.get("value")).get("keypointlabels")
        known = [view.labels[label] for label in _texts(labels) if label in view.labels]
        if known:
            return known[0]
        offered = ", ".join(view.labels)
        self.report(
            "error",
            f"{view.view}: label {_text(labels)} is no keypoint here; its points are not used (known: {offered})",
            view.view,
        )
        return None

    def _size(self, region: Mapping[str, Any], view: ViewBinding, keypoint: str | None) -> tuple[float, float] | None:
        where = view.view if keypoint is None else f"{view.view}, {keypoint}"
        rotation = region.get("image_rotation")
        if rotation is not None and _number(rotation) != 0:
            self.report(
                "error",
                f"{where}: the picture was rotated by {_text(rotation)}° while labelling; the region is not used",
                view.view,
                keypoint,
            )
            return None
        written = (_number(region.get("original_width")), _number(region.get("original_height")))
        known = self.sizes_px.get(view.view)
        if known is not None:
            if None not in written and written != known:
                self.report(
                    "warning",
                    f"{view.view}: the picture is {known[0]}×{known[1]}, but was {_text(written)} when labelled",
                    view.view,
                )
            return (float(known[0]), float(known[1]))
        width, height = written
        if width is None or height is None or not (1 <= width <= _LARGEST_SIDE and 1 <= height <= _LARGEST_SIDE):
            self.unsized.add(view.view)
            return None
        return (width, height)

    def _subject(self, point: _Point, boxes: list[_Box], subjects: Mapping[int, int]) -> int:
        for index, box in enumerate(boxes):
            if point.parent is not None and box.region == point.parent:
                return subjects[index]
        ours = RegionId.parse(point.region)
        if ours is not None:
            return ours.subject
        around = [i for i, box in enumerate(boxes) if box.position == point.position and box.contains(point.xy_px)]
        if around:
            return subjects[min(around, key=lambda i: boxes[i].box_px[2] * boxes[i].box_px[3])]
        return DEFAULT_SUBJECT

    def _box_arrays(self, boxes: list[_Box], subjects: Mapping[int, int]) -> dict[int, FloatArray]:
        arrays: dict[int, FloatArray] = {}
        for index, box in enumerate(boxes):
            array = arrays.setdefault(subjects[index], np.full((len(self.binding.views), 4), np.nan))
            array[box.position] = box.box_px
        return dict(sorted(arrays.items()))


def _number_boxes(boxes: list[_Box]) -> dict[int, int]:
    """Position of a box in the list → subject."""
    ours = {index: parsed.subject for index, box in enumerate(boxes) if (parsed := RegionId.parse(box.region)) is not None}
    subjects = dict(ours)
    for index, box in enumerate(boxes):
        if index not in subjects:
            taken = {subject for other, subject in subjects.items() if boxes[other].position == box.position}
            subjects[index] = next(number for number in range(len(boxes) + 1) if number not in taken)
    return subjects


def _write(pose: Pose2D, point: _Point, choice: tuple[PointState, bool] | None) -> None:
    state, chosen = choice if choice is not None else (PointState.VISIBLE, False)
    place = (point.position, point.keypoint)
    absent = state is PointState.ABSENT
    placed = point.touched or (absent and chosen)
    pose.state[place] = state
    pose.provenance[place] = Provenance.PLACED if placed else Provenance.ACCEPTED
    pose.confidence[place] = 1.0
    if not absent:
        pose.xy_px[place] = point.xy_px


def _touched(region: Mapping[str, Any]) -> bool:
    origin = region.get("origin")
    if origin is None:
        return RegionId.parse(region.get("id")) is None
    return bool(origin != "prediction")


def _lookup(table: Mapping[Any, Any], key: object) -> Any:
    return table.get(key) if isinstance(key, str) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _number(value: object) -> float | None:
    """A finite number; None for anything else, text and truth values included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _text(value: object) -> str:
    """A short form of anything for a message."""
    try:
        items = value if isinstance(value, list | tuple) else None
        text = ", ".join(map(repr, items)) or "none" if items is not None else repr(value)
    except (ValueError, RecursionError):  # integers of thousands of digits, nesting without end
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."
