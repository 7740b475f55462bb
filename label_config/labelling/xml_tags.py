"""Reading a labelling config: tags, and the pictures they stand for.  Whether they fit is decided elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring

from label_config.values.data_path import PATH
from label_config.values.errors import LabellingConfigError
from label_config.values.refusing import refusing

#: Far above what a person can label with.
_MOST_TAGS, _DEEPEST = 10_000, 100
_SAVE_AGAIN = "open the project's Labeling Interface in Label Studio and save it again"
_VARIABLE = re.compile(rf"\$({PATH.pattern})")


@dataclass(frozen=True)
class ImageTag:
    """An ``<Image>`` and where the task's data holds its address, such as ``image`` or ``images[0]``; None for no such place."""

    name: str
    data_key: str | None
    value_list: bool


@dataclass(frozen=True)
class ControlTag:
    """A control and what it labels: one name normally, several in ``toName="a,b"``.

    labels   what it offers, in order, as it appears in results: the alias where there is one
    values   alias → the value that it stands for, which files of other tools carry instead
    several  one region may carry several of its labels
    asked_of names of the controls whose regions it is asked of; None = of any
    """

    kind: str
    name: str
    targets: tuple[str, ...]
    labels: tuple[str, ...]
    dynamic: bool
    per_region: bool
    values: Mapping[str, str] = field(default_factory=dict)
    several: bool = False
    asked_of: frozenset[str] | None = None


def parse_config(xml: str) -> Element:
    """The root of a config.  Raises BadInputError for anything that is not plain XML; entities are refused."""
    with refusing(LabellingConfigError, f"labelling config: expected plain XML without entity declarations; {_SAVE_AGAIN}"):
        root: Element = fromstring(xml, forbid_dtd=True)
    tags, depth, level = 0, 0, [root]
    while level and tags <= _MOST_TAGS and depth <= _DEEPEST:
        tags, depth, level = tags + len(level), depth + 1, [child for tag in level for child in tag]
    if level or tags > _MOST_TAGS:
        raise LabellingConfigError(
            f"labelling config: expected at most {_MOST_TAGS:,} tags, nested at most {_DEEPEST} deep, got more; {_SAVE_AGAIN}"
        )
    return root


def image_tags(root: Element) -> tuple[ImageTag, ...]:
    """All ``<Image>`` tags in document order."""
    return tuple(_image(tag) for tag in _tags(root, "image"))


def control_tags(root: Element, kind: str) -> tuple[ControlTag, ...]:
    """All controls of a kind, such as ``KeyPointLabels``, in document order."""
    return tuple(_control(tag, kind) for tag in _tags(root, kind.lower()))


def repeaters(root: Element) -> tuple[Element, ...]:
    """All ``<Repeater>`` tags, which make pictures and controls anew for every task."""
    return tuple(_tags(root, "repeater"))


def _tags(root: Element, lower_name: str) -> Iterator[Element]:
    return (tag for tag in root.iter() if isinstance(tag.tag, str) and tag.tag.lower() == lower_name)


def _image(tag: Element) -> ImageTag:
    match = _VARIABLE.fullmatch(tag.get("value", "").strip())
    return ImageTag(name=tag.get("name", ""), data_key=match.group(1) if match else None, value_list="valueList" in tag.attrib)


def _control(tag: Element, kind: str) -> ControlTag:
    children = [child for child in tag.iter() if isinstance(child.tag, str) and child.tag.lower() in ("label", "choice")]
    labels = tuple(child.get("alias") or child.get("value") or "" for child in children)
    return ControlTag(
        kind=kind,
        name=tag.get("name", ""),
        targets=_names(tag.get("toName", "")),
        labels=labels,
        dynamic="value" in tag.attrib or any(label.startswith("$") for label in labels),
        per_region=tag.get("perRegion", "").lower() == "true",
        values={alias: value for child in children if (alias := child.get("alias")) and (value := child.get("value"))},
        several=tag.get("choice", "").lower() == "multiple",
        asked_of=frozenset(_names(tag.get("whenTagName", ""))) if "whenTagName" in tag.attrib else None,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
