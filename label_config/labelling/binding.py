"""What a labelling config means: which picture is which camera, which label is which keypoint.

``bind`` reads any project's config, ours or not.  What it cannot use it reports in words, and goes on with the rest.
A config with a single picture is ordinary: one camera, or one task per camera picture; then the one view stands for
whichever camera the task shows (see ``frame_rules``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from label_config.labelling.config_pictures import Picture, named, pictures_with_points
from label_config.labelling.label_match import match_labels
from label_config.labelling.visibility_controls import Words, read_words
from label_config.labelling.xml_tags import control_tags, parse_config
from label_config.settings.skeleton_files import draft_skeleton, load_skeleton, skeleton_to_mapping
from label_config.values import PointState
from label_config.values.errors import LabellingConfigError
from label_config.values.problem import Problem
from label_config.values.skeleton import Skeleton

#: One for each camera; the largest halls of cameras have 480.
_MOST_PICTURES = 500


@dataclass(frozen=True)
class ViewBinding:
    """One camera in the config.  A control is known by its name, the ``from_name`` of results.

    view        camera name
    image       name of the ``<Image>`` tag (``to_name`` of results)
    data_key    where the task's data holds its address, such as ``image`` or ``images[0]``
    points      ``<KeyPointLabels>`` control → label → keypoint index; only labels that are keypoints
    visibility  per-region ``<Choices>`` control → choice → what it says of the point; choices that are not known are not there
    marks       ``<KeyPointLabels>`` control → label that says of a point whether it can be seen → what it says
    box         name of the ``<RectangleLabels>`` control, None without one
    box_labels  labels of the box control
    """

    view: str
    image: str
    data_key: str
    points: Mapping[str, Mapping[str, int]]
    visibility: Mapping[str, Mapping[str, PointState]] = field(default_factory=dict)
    marks: Mapping[str, Mapping[str, PointState]] = field(default_factory=dict)
    box: str | None = None
    box_labels: tuple[str, ...] = ()

    @cached_property
    def label_of(self) -> dict[int, Written]:
        """Keypoint index → the label that stands for it here: the newest, and of two spellings that of results."""
        return {
            index: Written("keypointlabels", control, label) for control, of in self.points.items() for label, index in of.items()
        }

    @cached_property
    def word_of(self) -> dict[PointState, Written]:
        """PointState → the first word that says it here; choices come before labels."""
        found: dict[PointState, Written] = {}
        for kind, controls in (("choices", self.visibility), ("keypointlabels", self.marks)):
            for control, of in controls.items():
                for word, state in of.items():
                    found.setdefault(state, Written(kind, control, word))
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        plain = {name: getattr(self, name) for name in ("view", "image", "data_key", "box")}
        words = {name: _names(getattr(self, name)) for name in ("visibility", "marks")}
        points = {control: dict(of) for control, of in self.points.items()}
        return {**plain, **words, "points": points, "box_labels": list(self.box_labels)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ViewBinding:
        """Inverse of :meth:`to_json`."""
        words = {name: _states(data[name]) for name in ("visibility", "marks")}
        return cls(**{**data, **words, "box_labels": tuple(data["box_labels"])})


class Written(NamedTuple):
    """A word as a result carries it: the type of the result, the control and the word itself."""

    type: str
    control: str
    word: str


def _names(controls: Mapping[str, Mapping[str, PointState]]) -> dict[str, dict[str, str]]:
    return {control: {word: state.name.lower() for word, state in of.items()} for control, of in controls.items()}


def _states(controls: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, PointState]]:
    return {control: {word: PointState[name.upper()] for word, name in of.items()} for control, of in controls.items()}


@dataclass(frozen=True)
class Binding:
    """A skeleton, the cameras in the order of every V axis, and what could not be used."""

    skeleton: Skeleton
    views: tuple[ViewBinding, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """(V,) camera names."""
        return tuple(view.view for view in self.views)

    def for_view(self, view: str) -> Binding:
        """The same binding for a task that shows one camera.  Raises BadInputError when the config has several pictures."""
        if len(self.views) != 1:
            raise LabellingConfigError(f"view {view!r}: expected a config with one picture, got {', '.join(self.names)}")
        return replace(self, views=(replace(self.views[0], view=view),))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "skeleton": skeleton_to_mapping(self.skeleton),
            "views": [view.to_json() for view in self.views],
            "problems": [{name: value for name, value in vars(problem).items() if value} for problem in self.problems],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Binding:
        """Inverse of :meth:`to_json`."""
        return cls(
            skeleton=load_skeleton(data["skeleton"]),
            views=tuple(ViewBinding.from_json(view) for view in data["views"]),
            problems=tuple(Problem(**problem) for problem in data["problems"]),
        )


def bind(
    xml: str,
    skeleton: Skeleton | None,
    *,
    views: Sequence[str] | None = None,
    aliases: Mapping[str, str] | None = None,
    visibility: Mapping[str, str] | None = None,
) -> Binding:
    """Read a labelling config.

    skeleton  None: drafted from the labels
    views     camera names in the wanted order, to be found as picture names, as data keys or as what
              ``safe_view_names`` makes of them; None = picture names in the order of the config.
              Not used when the config has a single picture.
    aliases   label, or control/label, → keypoint where names differ in more than case
    visibility  choice, or label beside another one, → visible, occluded, absent or unlabelled

    Raises BadInputError when the XML cannot be read or no picture has usable keypoint labels.
    """
    root = parse_config(xml)
    problems: list[Problem] = []
    pictures = pictures_with_points(root, problems)
    if not pictures:
        reasons = "".join(f"\n  {problem.message}" for problem in problems)
        raise LabellingConfigError(
            "labelling config: expected at least one <Image> with a <KeyPointLabels> of its own, found none; "
            f"add them in the project's Labeling Interface, or let `parallax init` create a project{reasons}"
        )
    if len(pictures) > _MOST_PICTURES:
        raise LabellingConfigError(f"labelling config: expected at most {_MOST_PICTURES} pictures, got {len(pictures)}")
    pictures, aliases = named(pictures, views, problems), aliases or {}
    words = [read_words(root, picture, skeleton, visibility or {}, problems) for picture in pictures]
    known = skeleton or draft_skeleton(_drafted(pictures, words, aliases))
    bound = tuple(_bind_view(root, picture, of, known, aliases, problems) for picture, of in zip(pictures, words, strict=True))
    if not any(view.label_of for view in bound):
        labels = ", ".join(dict.fromkeys(label for _, _, controls in pictures for of in controls for label in of.labels))
        raise LabellingConfigError(
            f"labelling config: no label is a keypoint of the skeleton {known.name!r}: labels {labels}; "
            f"keypoints {', '.join(known.keypoints)}; choose another skeleton or write aliases in parallax.yaml"
        )
    return Binding(skeleton=known, views=bound, problems=tuple(dict.fromkeys(problems)))


def _drafted(pictures: Sequence[Picture], words: Sequence[Words], aliases: Mapping[str, str]) -> list[str]:
    """Names of the keypoints, where the labels themselves name them."""
    names = [
        aliases.get(f"{control.name}/{label}", aliases.get(label, label))
        for (_, _, controls), of in zip(pictures, words, strict=True)
        for control in controls
        for label in control.labels
        if label not in of.marks.get(control.name, {})
    ]
    return list(dict.fromkeys(names))


def _bind_view(
    root: Element,
    picture: Picture,
    words: Words,
    skeleton: Skeleton,
    aliases: Mapping[str, str],
    problems: list[Problem],
) -> ViewBinding:
    view, image, controls = picture
    box = next((c for c in control_tags(root, "RectangleLabels") if c.targets == (image.name,) and c.labels), None)
    return ViewBinding(
        view=view,
        image=image.name,
        data_key=image.data_key or "",
        points=match_labels(view, controls, skeleton, aliases, problems, words.marks),
        visibility=words.choices,
        marks=words.marks,
        box=box.name if box else None,
        box_labels=box.labels if box else (),
    )
