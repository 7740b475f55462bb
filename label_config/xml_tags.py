"""Reading a labelling config: tags, the pictures they stand for and the words of visibility.  No judgement yet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from label_config.values import BadInputError, PointState

#: Choices of a visibility control, in lower case.
_VISIBILITY_WORDS = {
    PointState.VISIBLE: {"visible", "clear", "clearly visible", "in view"},
    PointState.OCCLUDED: {"occluded", "hidden", "invisible", "not visible", "obscured", "covered", "self-occluded"},
    PointState.ABSENT: {"absent", "missing", "not in picture", "not in image", "out of frame", "out of view", "outside"},
}
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class ImageTag:
    """An ``<Image>`` and its task data key; None when the value is no plain ``$key``."""

    name: str
    data_key: str | None
    value_list: bool


@dataclass(frozen=True)
class ControlTag:
    """A control and what it labels: one name normally, several in ``toName="a,b"``.

    labels  the values it offers, as they appear in results, in order
    """

    kind: str
    name: str
    targets: tuple[str, ...]
    labels: tuple[str, ...]
    dynamic: bool
    per_region: bool


def parse_config(xml: str) -> Element:
    """The root of a config.  Raises BadInputError for anything that is not plain XML; entities are refused."""
    try:
        root: Element = fromstring(xml, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise BadInputError(
            f"labelling config: expected plain XML without entity declarations, got {error or type(error).__name__}; "
            "open the project's Labeling Interface in Label Studio and save it again"
        ) from error
    return root


def image_tags(root: Element) -> tuple[ImageTag, ...]:
    """All ``<Image>`` tags in document order."""
    return tuple(_image(tag) for tag in _tags(root, "image"))


def control_tags(root: Element, kind: str) -> tuple[ControlTag, ...]:
    """All controls of a kind, such as ``KeyPointLabels``, in document order."""
    return tuple(_control(tag, kind) for tag in _tags(root, kind.lower()))


def visibility_state(choice: str) -> PointState | None:
    """What a choice says about a point; None for a word that is not known."""
    word = re.sub(r"[_\s]+", " ", choice).strip().lower()
    return next((state for state, words in _VISIBILITY_WORDS.items() if word in words), None)


def _tags(root: Element, lower_name: str) -> Iterator[Element]:
    return (tag for tag in root.iter() if isinstance(tag.tag, str) and tag.tag.lower() == lower_name)


def _image(tag: Element) -> ImageTag:
    match = _VARIABLE.fullmatch(tag.get("value", "").strip())
    return ImageTag(name=tag.get("name", ""), data_key=match.group(1) if match else None, value_list="valueList" in tag.attrib)


def _control(tag: Element, kind: str) -> ControlTag:
    children = [child for child in tag.iter() if isinstance(child.tag, str) and child.tag.lower() in ("label", "choice")]
    # results carry the alias where there is one
    labels = tuple(child.get("alias") or child.get("value") or "" for child in children)
    return ControlTag(
        kind=kind,
        name=tag.get("name", ""),
        targets=tuple(part.strip() for part in tag.get("toName", "").split(",") if part.strip()),
        labels=labels,
        dynamic="value" in tag.attrib or any(label.startswith("$") for label in labels),
        per_region=tag.get("perRegion", "").lower() == "true",
    )
