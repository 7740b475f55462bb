"""The regions of a submitted annotation → Pose2D.

Nothing raises: what cannot be used becomes a Problem, and the rest goes on.

**Provenance** follows ``origin``: an untouched prediction is ACCEPTED, "prediction-changed" and "manual" are PLACED.
Without an origin (imported or bulk-accepted annotations) our own region id means ACCEPTED, any other PLACED.  A drawn
vector keeps the origin "prediction" when it is edited, which is one reason why vectors are not read.

**Subjects.**  A point belongs to the box that is its parent; without one to the subject in its id, when the id is ours;
else to the smallest box around it, or, of several boxes, to the nearest; else to DEFAULT_SUBJECT.  A box whose label is a number
("1", "2", …) is of that subject, also where it was shown with another one.  Other boxes keep the number in their id, and those
that a person drew are numbered per view in the order of the list, by the lowest number that is free there: no one has said that
boxes of one such number are of one subject in all cameras (``unnumbered``).

A point in a box that was deleted is deleted with it.

**Two labels on one point**: both keypoints lie there; one that says whether the point can be seen says it.  A point with a
choice, or second label, that nobody has said the meaning of is not used.

**Two points for one keypoint of one subject**: the last in the list that a person placed or moved counts, else the last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from label_config.labelling.binding import Binding, ViewBinding
from label_config.labelling.box_numbers import number_word, numbered_by
from label_config.labelling.region_frame import PointKey, Size, to_px
from label_config.labelling.region_ids import RegionId
from label_config.settings.visibility import stronger
from label_config.values import DEFAULT_SUBJECT, FloatArray, PointState, Pose2D, Provenance
from label_config.values.json_values import lookup, mapping, number, text_of, texts_of
from label_config.values.problem import Problem, Severity

#: Percent by which a point may lie outside the picture and still count, moved to its edge.
_TOLERANCE = 1.0
_LARGEST_SIDE = 10_000_000
#: Far above what a person draws; every point may have to be looked for in every box of its view.
MOST_REGIONS, MOST_BOXES, MOST_SUBJECTS = 10_000, 2_000, 500


@dataclass(frozen=True)
class DecodedAnnotation:
    """What a person submitted.

    poses     subject → pose; a subject about whom nothing was said is not there
    boxes_px  subject → (V, 4) left, top, width, height in the frame of the points; NaN = no box
    shown     the points that carry one of our region ids: which generation and which point was shown to the person
    regions   the id of the region that each point was read from
    unsized   views with regions that wait until the size of their picture is known: Label Studio keeps them in percent
    unnumbered  subjects with a box of which nobody said whose it is
    """

    poses: Mapping[int, Pose2D]
    boxes_px: Mapping[int, FloatArray]
    shown: Mapping[PointKey, RegionId]
    problems: tuple[Problem, ...]
    unsized: frozenset[str] = frozenset()
    unnumbered: frozenset[int] = frozenset()
    regions: Mapping[PointKey, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Point:
    region: str
    parent: object
    position: int
    keypoint: int
    xy_px: tuple[float, float]
    touched: bool


@dataclass(frozen=True)
class _Box:
    region: str
    position: int
    box_px: tuple[float, float, float, float]
    subject: int | None = None  #: by its label


def decode(result: object, binding: Binding, *, sizes_px: Mapping[str, Size] | None = None) -> DecodedAnnotation:
    """Read the ``result`` of an annotation.

    sizes_px  view → (width, height) of the picture; where absent, the size that Label Studio wrote into the region
    """
    reader = _RegionReader(binding, sizes_px or {})
    if not isinstance(result, list):
        reader.report("error", f"annotation: expected a list of regions, got {type(result).__name__}; nothing of it is used")
        return DecodedAnnotation({}, {}, {}, tuple(reader.problems))
    if len(result) > MOST_REGIONS:
        reader.report(
            "error", f"annotation: expected at most {MOST_REGIONS:,} regions; nothing of it is used", got=str(len(result))
        )
        return DecodedAnnotation({}, {}, {}, tuple(reader.problems))
    regions = [_with_id(region, place) for place, region in enumerate(result) if isinstance(region, dict)]
    if len(regions) < len(result):
        reader.report(
            "error", f"annotation: {len(result) - len(regions)} of {len(result)} regions are no mappings; they are not used"
        )
    boxes = [box for region in regions if (box := reader.box(region)) is not None]
    if len(boxes) > MOST_BOXES:
        reader.report("error", f"annotation: expected at most {MOST_BOXES:,} boxes; the others are not used", got=str(len(boxes)))
        boxes = boxes[:MOST_BOXES]
    points = [point for region in regions for point in reader.points(region)]
    states = reader.states(regions, {point.region for point in points})
    return reader.assemble(points, states, boxes)


def _with_id(region: dict[str, Any], place: int) -> dict[str, Any]:
    """The region; one without an id gets one that no other has."""
    return region if isinstance(region.get("id"), str) else {**region, "id": f"without id, {place}"}


class _RegionReader:
    """The regions of one annotation, one kind at a time, and the problems met on the way."""

    def __init__(self, binding: Binding, sizes_px: Mapping[str, Size]) -> None:
        self.binding = binding
        self.sizes_px = sizes_px
        self.problems: dict[Problem, None] = {}  # in order, each once
        self.unsized: set[str] = set()
        self._points = {control: position for position, view in enumerate(binding.views) for control in view.points}
        self._boxes = {view.box: position for position, view in enumerate(binding.views) if view.box}
        self._choices = {control: view for view in binding.views for control in view.visibility}

    def report(
        self, severity: Severity, message: str, view: str | None = None, keypoint: str | None = None, got: str = ""
    ) -> None:
        self.problems.setdefault(Problem(severity, message, view, keypoint, got))

    def points(self, region: Mapping[str, Any]) -> list[_Point]:
        """The points of a keypoint region, one for each of its labels; none when it is another kind or cannot be used."""
        position = lookup(self._points, region.get("from_name"))
        if position is None and region.get("type") != "keypointlabels":
            return []
        if position is None:
            message = "a control that is not in the labelling config, or cannot be used; its points are not used"
            self.report("error", message, got=text_of(region.get("from_name")))
            return []
        view = self.binding.views[position]
        keypoints = self._keypoints(region, view)
        if not keypoints:
            return []
        name = self.binding.skeleton.keypoints[keypoints[0]]
        xy_px = self._place(region, view, name)
        if xy_px is None:
            return []
        return [
            _Point(region["id"], region.get("parentID"), position, keypoint, xy_px, _touched(region)) for keypoint in keypoints
        ]

    def _place(self, region: Mapping[str, Any], view: ViewBinding, name: str) -> tuple[float, float] | None:
        """Where the region's point lies, in pixels; None when that cannot be said."""
        value = mapping(region.get("value"))
        size = self._size(region, view)
        if size is None:
            return None
        x, y = number(value.get("x")), number(value.get("y"))
        if x is None or y is None or not all(-_TOLERANCE <= part <= 100 + _TOLERANCE for part in (x, y)):
            message = f"{view.view}: points are used only with x and y between 0 and 100 percent"
            got = f"x {text_of(value.get('x'))}, y {text_of(value.get('y'))} for {name}"
            self.report("error", message, view.view, got=got)
            return None
        inside = (min(max(x, 0.0), 100.0), min(max(y, 0.0), 100.0))
        return (to_px(inside[0], size[0]), to_px(inside[1], size[1]))

    def box(self, region: Mapping[str, Any]) -> _Box | None:
        """A subject's box; None when it is another kind or cannot be used."""
        position = lookup(self._boxes, region.get("from_name"))
        if position is None or region.get("type") != "rectanglelabels":
            return None
        view = self.binding.views[position]
        value = mapping(region.get("value"))
        numbers = [number(value.get(name)) for name in ("x", "y", "width", "height")]
        size = self._size(region, view)
        if size is None:
            return None
        if any(number is None or abs(number) > 1000 for number in numbers) or number(value.get("rotation") or 0) != 0:
            self.report("warning", f"{view.view}: a box without x, y, width and height, or a rotated one, is not used", view.view)
            return None
        x, y, width, height = (number for number in numbers if number is not None)
        return _Box(
            region["id"],
            position,
            (to_px(x, size[0]), to_px(y, size[1]), width * size[0] / 100.0, height * size[1] / 100.0),
            numbered_by(texts_of(value.get("rectanglelabels"))),
        )

    def states(self, regions: Iterable[Mapping[str, Any]], points: Collection[str]) -> dict[str, tuple[PointState, bool]]:
        """Region id → (what its choices and second labels say, chosen by a person), for the regions of ``points``."""
        states: dict[str, tuple[PointState, bool]] = {}
        for region in regions:
            name = region["id"]
            if name in points and (said := self._said(region)) is not None:
                before = states.get(name, (said, False))
                states[name] = (stronger(before[0], said), before[1] or _touched(region))
        return states

    def _said(self, region: Mapping[str, Any]) -> PointState | None:
        """What one region says of whether a point can be seen, None for nothing."""
        control, value = region.get("from_name"), mapping(region.get("value"))
        asked = lookup(self._choices, control)
        if asked is not None:
            choices = asked.visibility[str(control)]
            said = [self._state(choice, choices, asked, str(control)) for choice in texts_of(value.get("choices"))]
            return stronger(*said) if said else None
        position = lookup(self._points, control)
        if position is None:
            return None
        view = self.binding.views[position]
        labels, marks = view.points[str(control)], view.marks.get(str(control), {})
        texts = texts_of(value.get("keypointlabels"))
        strange = [text for text in texts if text not in labels and text not in marks]
        if strange and len(strange) < len(texts):
            self._report_beside(strange, view)
            return PointState.UNLABELLED
        return stronger(*(marks[text] for text in texts if text in marks)) if marks else None

    def _state(self, choice: str, known: Mapping[str, PointState], view: ViewBinding, control: str) -> PointState:
        if choice in known:
            return known[choice]
        message = (
            f"{view.view}: choices of {control!r} whose meaning is not known; points that carry one are not used until "
            "`visibility` of parallax.yaml says what each of them means"
        )
        self.report("warning", message, view.view, got=text_of(choice))
        return PointState.UNLABELLED

    def _report_beside(self, strange: list[str], view: ViewBinding) -> None:
        message = (
            f"{view.view}: points with a second label whose meaning is not known; they are not used until `aliases` or "
            "`visibility` of parallax.yaml says what it means"
        )
        for text in strange:
            self.report("warning", message, view.view, got=text_of(text))

    def assemble(
        self, points: list[_Point], states: Mapping[str, tuple[PointState, bool]], boxes: list[_Box]
    ) -> DecodedAnnotation:
        """One pose per subject."""
        subjects = _number_boxes(boxes)
        subject_of = _SubjectFinder(boxes, subjects)
        chosen: dict[PointKey, _Point] = {}
        for point in points:
            if subject_of.lost_its_box(point) or _said_of(point, states)[0] is PointState.UNLABELLED:
                continue
            key = (subject_of(point), point.position, point.keypoint)
            previous = chosen.get(key)
            if previous is not None:
                view, name = self.binding.names[point.position], self.binding.skeleton.keypoints[point.keypoint]
                which = "the last that was placed or moved" if previous.touched or point.touched else "the last"
                self.report(
                    "warning",
                    f"{view}, {name}: more than one point for subject {number_word(key[0])}; {which} is used",
                    view,
                    name,
                )
            if previous is None or point.touched or not previous.touched:
                chosen[key] = point
        used = self._first_subjects({*subjects.values(), *(subject for subject, _, _ in chosen)})
        chosen = {key: point for key, point in chosen.items() if key[0] in used}
        found = dict.fromkeys(subject for subject, _, _ in chosen)
        poses = {subject: Pose2D.empty(len(self.binding.views), len(self.binding.skeleton)) for subject in found}
        shown: dict[PointKey, RegionId] = {}
        for key, point in chosen.items():
            _write(poses[key[0]], point, *_said_of(point, states))
            ours = RegionId.parse(point.region)
            # Labels and boxes may be changed, a region never goes to another picture: such an id was made up.
            if ours is not None and ours.view == key[1] and (ours.keypoint or 0) < len(self.binding.skeleton):
                shown[key] = ours
        arrays = self._box_arrays(boxes, {index: subject for index, subject in subjects.items() if subject in used})
        regions = {key: point.region for key, point in chosen.items()}
        nobodys = frozenset(subjects[index] for index, box in enumerate(boxes) if box.subject is None) & used
        return DecodedAnnotation(
            dict(sorted(poses.items())), arrays, shown, tuple(self.problems), frozenset(self.unsized), nobodys, regions
        )

    def _keypoints(self, region: Mapping[str, Any], view: ViewBinding) -> list[int]:
        """The keypoints that the region's labels stand for; none, and reported, when they stand for nothing."""
        control = str(region.get("from_name"))
        labels, marks = view.points[control], view.marks.get(control, {})
        texts = texts_of(mapping(region.get("value")).get("keypointlabels"))
        known = list(dict.fromkeys(labels[text] for text in texts if text in labels))
        if not known:
            message = f"{view.view}: labels that are no keypoints; points with them are not used (known: {', '.join(labels)})"
            if any(text in marks for text in texts):
                message = f"{view.view}: points with no label but one that says whether they can be seen; they are not used"
            said = [text_of(text) for text in texts] or [text_of(mapping(region.get("value")).get("keypointlabels"))]
            for got in said:
                self.report("error", message, view.view, got=got)
        return known

    def _size(self, region: Mapping[str, Any], view: ViewBinding) -> tuple[float, float] | None:
        rotation = region.get("image_rotation")
        if rotation is not None and number(rotation) != 0:
            message = f"{view.view}: regions that were made while the picture was rotated are not used"
            self.report("error", message, view.view, got=f"{text_of(rotation)}°")
            return None
        known = self.sizes_px.get(view.view)
        if known is not None and (region.get("original_width"), region.get("original_height")) == known:
            return (float(known[0]), float(known[1]))
        width, height = number(region.get("original_width")), number(region.get("original_height"))
        if known is not None:
            if width is not None and height is not None and not _same_picture((width, height), known):
                message = f"{view.view}: labelled on a picture of another size; points keep their place in percent of it"
                got = f"{_size_text(width, height)} where it is {_size_text(*known)} now"
                self.report("warning", message, view.view, got=got)
            return (float(known[0]), float(known[1]))
        if width is None or height is None or not (1 <= width <= _LARGEST_SIDE and 1 <= height <= _LARGEST_SIDE):
            self.unsized.add(view.view)
            return None
        return (width, height)

    def _first_subjects(self, subjects: set[int]) -> set[int]:
        """The subjects that are used; a pose of each is stored."""
        if len(subjects) > MOST_SUBJECTS:
            message = f"annotation: expected at most {MOST_SUBJECTS} subjects; those with the largest numbers are not used"
            self.report("error", message, got=str(len(subjects)))
        return set(sorted(subjects)[:MOST_SUBJECTS])

    def _box_arrays(self, boxes: list[_Box], subjects: Mapping[int, int]) -> dict[int, FloatArray]:
        arrays: dict[int, FloatArray] = {}
        for index, subject in sorted(subjects.items()):
            array = arrays.setdefault(subject, np.full((len(self.binding.views), 4), np.nan))
            array[boxes[index].position] = boxes[index].box_px
        return dict(sorted(arrays.items()))


def _number_boxes(boxes: list[_Box]) -> dict[int, int]:
    """Position of a box in the list → subject."""
    said = {index: box.subject for index, box in enumerate(boxes) if box.subject is not None}
    ours = {
        index: parsed.subject
        for index, box in enumerate(boxes)
        if index not in said and (parsed := RegionId.parse(box.region)) is not None
    }
    subjects = {**said, **ours}
    taken = {(boxes[index].position, subject) for index, subject in subjects.items()}
    next_free: dict[int, int] = {}
    for index, box in enumerate(boxes):
        if index not in subjects:
            number = next_free.get(box.position, 0)
            while (box.position, number) in taken:
                number += 1
            subjects[index], next_free[box.position] = number, number + 1
    return subjects


class _SubjectFinder:
    """Which subject a point belongs to."""

    def __init__(self, boxes: Sequence[_Box], subjects: Mapping[int, int]) -> None:
        self._of_box: dict[object, int] = {}
        for index, box in enumerate(boxes):
            self._of_box.setdefault(box.region, subjects[index])
        in_view: dict[int, list[int]] = {}
        for index, box in enumerate(boxes):
            in_view.setdefault(box.position, []).append(index)
        # View → (n,) subjects, and (n, 4) left, top, width, height.
        self._in_view = {
            view: (np.array([subjects[i] for i in of]), np.array([boxes[i].box_px for i in of])) for view, of in in_view.items()
        }

    def lost_its_box(self, point: _Point) -> bool:
        """It was shown in a box of ours that a person deleted, and put into no other one."""
        return RegionId.parse(point.parent) is not None and point.parent not in self._of_box

    def __call__(self, point: _Point) -> int:
        """By its parent, by its id, by the smallest box around it, of several boxes by the nearest, else DEFAULT_SUBJECT."""
        if isinstance(point.parent, str) and point.parent in self._of_box:
            return self._of_box[point.parent]
        ours = RegionId.parse(point.region)
        if ours is not None:
            return ours.subject
        if point.position not in self._in_view:
            return DEFAULT_SUBJECT
        subjects, box_px = self._in_view[point.position]
        beyond = np.asarray(point.xy_px) - box_px[:, :2]
        around = np.flatnonzero(((beyond >= 0) & (beyond <= box_px[:, 2:])).all(axis=1))
        if len(around):
            return int(subjects[around[box_px[around, 2:].prod(axis=1).argmin()]])
        outside = np.maximum(np.maximum(-beyond, beyond - box_px[:, 2:]), 0.0)
        return int(subjects[np.linalg.norm(outside, axis=1).argmin()]) if len(subjects) > 1 else DEFAULT_SUBJECT


def _same_picture(size: tuple[float, float], known: Size) -> bool:
    """The picture of this size is the known one, reduced or enlarged: sides are whole pixels."""
    scale = max(size) / max(known)
    return all(abs(side - scale * side_of_known) < 1 for side, side_of_known in zip(size, known, strict=True))


def _size_text(width: float, height: float) -> str:
    """A picture's size for a message, whole pixels without a decimal point."""
    return f"{width:.10g}×{height:.10g}"


def _said_of(point: _Point, states: Mapping[str, tuple[PointState, bool]]) -> tuple[PointState, bool]:
    """What is said of a point, and whether a person said it; a point of which nothing is said is visible."""
    return states.get(point.region, (PointState.VISIBLE, False))


def _write(pose: Pose2D, point: _Point, state: PointState, chosen: bool) -> None:
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
        return RegionId.parse(region["id"]) is None
    return bool(origin != "prediction")
