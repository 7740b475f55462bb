"""Which controls of a picture say of a point whether it can be seen, and what their words mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element

from label_config.labelling.config_pictures import Picture
from label_config.labelling.xml_tags import ControlTag, control_tags
from label_config.settings.visibility import visibility_state, written_state
from label_config.values import PointState
from label_config.values.problem import Problem
from label_config.values.skeleton import Skeleton

#: Control → word → what it says.
_Meaning = Mapping[str, Mapping[str, PointState]]


class Words(NamedTuple):
    """Of one picture: what choices say, and what labels say that stand beside another one on a point."""

    choices: _Meaning
    marks: _Meaning


def read_words(
    root: Element, picture: Picture, skeleton: Skeleton | None, written: Mapping[str, str], problems: list[Problem]
) -> Words:
    """The words of one picture; what cannot be understood is added to ``problems``.

    written  ``visibility`` of parallax.yaml

    A ``<Choices>`` on each region that has no word known to be about visibility may be about it all the same, in words of
    another language, say.  It is taken for it unless another one is: points that carry its choices wait until
    parallax.yaml says what they mean.
    """
    view, image, controls = picture
    ours = {control.name for control in controls}
    asked = [
        control
        for control in control_tags(root, "Choices")
        if control.per_region and image.name in control.targets and (control.asked_of is None or control.asked_of & ours)
    ]
    understood = [control for control in asked if _is_about_visibility(control, written)]
    for control in asked if understood else ():
        if control not in understood:
            text = f"<Choices name={control.name!r}> is not read: no choice of it is known to be about visibility"
            problems.append(Problem("warning", text, view))
    choices = {}
    for control in understood or asked:
        choices[control.name] = _meanings(control, control.labels, written)
        unknown = [choice for choice in control.labels if choice not in choices[control.name]]
        if unknown:
            problems.append(Problem("warning", _unknown(control, unknown), view))
    return Words(choices, {control.name: of for control in controls if (of := _marks(control, skeleton, written))})


def _is_about_visibility(control: ControlTag, written: Mapping[str, str]) -> bool:
    hides = (PointState.OCCLUDED, PointState.ABSENT)
    return _is_written(control, control.labels, written) or any(
        visibility_state(word) in hides for word in _spellings(control, control.labels)
    )


def _meanings(control: ControlTag, words: Iterable[str], written: Mapping[str, str]) -> dict[str, PointState]:
    """Word → state, by the spelling of results and by the other one; that of results comes first."""
    found: dict[str, PointState] = {}
    for word in words:
        spellings = [word, control.values.get(word, word)]
        state = next((state for of in spellings if (state := visibility_state(of, written)) is not None), None)
        if state is not None:
            found |= dict.fromkeys(spellings, state)
    return found


def _spellings(control: ControlTag, words: Iterable[str]) -> list[str]:
    return [spelling for word in words for spelling in (word, control.values.get(word, word))]


def _marks(control: ControlTag, skeleton: Skeleton | None, written: Mapping[str, str]) -> dict[str, PointState]:
    """Labels of the control that are words of visibility and no keypoints.

    Where a point carries one label only, it takes parallax.yaml to make one such a word.
    """
    keypoints = skeleton.index if skeleton is not None else {}
    words = [label for label in control.labels if label not in keypoints]
    return _meanings(control, [word for word in words if control.several or _is_written(control, [word], written)], written)


def _is_written(control: ControlTag, words: Iterable[str], written: Mapping[str, str]) -> bool:
    return any(written_state(of, written) is not None for of in _spellings(control, words))


def _unknown(control: ControlTag, unknown: list[str]) -> str:
    example = ", ".join(f'"{choice}": …' for choice in unknown)
    return (
        f"<Choices name={control.name!r}> is asked of each point, and what it says of one is not known for "
        f"{', '.join(map(repr, unknown))}; points that carry such a choice are not used until parallax.yaml says "
        f"visibility: {{{example}}} with visible, occluded, absent or unlabelled for each"
    )
