"""What a labelling config means: which picture is which camera, which label is which keypoint.

``bind`` reads any project's config, ours or not.  What it cannot use it reports in words, and goes on with the rest.
A config with a single picture is ordinary: one camera, or one task per camera picture; then the one view stands for
whichever camera the task shows (see ``frame_rules``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from xml.etree.ElementTree import Element

from label_config.config_pictures import Picture, named, pictures_with_points
from label_config.label_match import match_labels
from label_config.problems import Problem
from label_config.skeleton import Skeleton
from label_config.skeleton_files import draft_skeleton, load_skeleton, skeleton_to_mapping
from label_config.values import BadInputError, PointState
from label_config.xml_tags import ControlTag, ImageTag, control_tags, parse_config, visibility_state


@dataclass(frozen=True)
class ViewBinding:
    """One camera in the config.

    view        camera name
    image       name of the ``<Image>`` tag (``to_name`` of results)
    data_key    task data key that holds the picture
    keypoints   name of the ``<KeyPointLabels>`` control (``from_name`` of results)
    visibility  name of the per-region ``<Choices>`` control, None without one
    box         name of the ``<RectangleLabels>`` control, None without one
    labels      label → keypoint index; only labels that are keypoints
    states      choice → PointState of the visibility control
    box_labels  labels of the box control
    """

    view: str
    image: str
    data_key: str
    keypoints: str
    visibility: str | None = None
    box: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, PointState] = field(default_factory=dict)
    box_labels: tuple[str, ...] = ()

    @cached_property
    def label_of(self) -> dict[int, str]:
        """Keypoint index → the label that stands for it here."""
        return {index: label for label, index in self.labels.items()}

    @cached_property
    def choice_of(self) -> dict[PointState, str]:
        """PointState → the first choice that says it here."""
        return {state: choice for choice, state in reversed(list(self.states.items()))}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        plain = {name: getattr(self, name) for name in ("view", "image", "data_key", "keypoints", "visibility", "box")}
        states = {choice: state.name.lower() for choice, state in self.states.items()}
        return {**plain, "labels": dict(self.labels), "states": states, "box_labels": list(self.box_labels)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ViewBinding:
        """Inverse of :meth:`to_json`."""
        states = {choice: PointState[name.upper()] for choice, name in data["states"].items()}
        return cls(**{**data, "states": states, "box_labels": tuple(data["box_labels"])})


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
            raise BadInputError(f"view {view!r}: expected a labelling config with one picture, got {', '.join(self.names)}")
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
) -> Binding:
    """Read a labelling config.

    skeleton  None: drafted from the labels
    views     camera names in the wanted order, to be found as picture names, as data keys or as what
              ``safe_view_names`` makes of them; None = picture names in the order of the config.
              Not used when the config has a single picture.
    aliases   label → keypoint where names differ in more than case

    Raises BadInputError when the XML cannot be read or no picture has usable keypoint labels.
    """
    root = parse_config(xml)
    problems: list[Problem] = []
    pairs = pictures_with_points(root, problems)
    if not pairs:
        reasons = "".join(f"\n  {problem.message}" for problem in problems)
        raise BadInputError(
            "labelling config: expected at least one <Image> with a <KeyPointLabels> of its own, found none; "
            f"add them in the project's Labeling Interface, or let `parallax init` create a project{reasons}"
        )
    pairs = named(pairs, views, problems)
    known = skeleton or draft_skeleton(list(dict.fromkeys(label for _, _, control in pairs for label in control.labels)))
    bound = tuple(_bind_view(root, pair, known, aliases or {}, problems) for pair in pairs)
    if not any(view.labels for view in bound):
        labels = ", ".join(dict.fromkeys(label for _, _, control in pairs for label in control.labels))
        raise BadInputError(
            f"labelling config: no label is a keypoint of the skeleton {known.name!r}: labels {labels}; "
            f"keypoints {', '.join(known.keypoints)}; choose another skeleton or write aliases in parallax.yaml"
        )
    return Binding(skeleton=known, views=bound, problems=tuple(dict.fromkeys(problems)))


def _bind_view(
    root: Element, pair: Picture, skeleton: Skeleton, aliases: Mapping[str, str], problems: list[Problem]
) -> ViewBinding:
    view, image, control = pair
    visibility = next((c for c in control_tags(root, "Choices") if _tells_visibility(c, image)), None)
    box = next((c for c in control_tags(root, "RectangleLabels") if c.targets == (image.name,) and c.labels), None)
    states: dict[str, PointState] = {}
    for choice in visibility.labels if visibility else ():
        state = visibility_state(choice)
        if state is None:
            problems.append(Problem("warning", f"choice {choice!r} says nothing about visibility; it is not used", view))
        else:
            states[choice] = state
    return ViewBinding(
        view=view,
        image=image.name,
        data_key=image.data_key or "",
        keypoints=control.name,
        visibility=visibility.name if visibility else None,
        box=box.name if box else None,
        labels=match_labels(view, control.labels, skeleton, aliases, problems),
        states=states,
        box_labels=box.labels if box else (),
    )


def _tells_visibility(control: ControlTag, image: ImageTag) -> bool:
    tells = any(visibility_state(choice) in (PointState.OCCLUDED, PointState.ABSENT) for choice in control.labels)
    return control.per_region and image.name in control.targets and tells
