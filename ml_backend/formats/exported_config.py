"""What an export of Label Studio shows of its labelling config, which is not in the file: the tags that its regions name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from label_config.labelling.binding import Binding, bind
from label_config.values.errors import LabelFileError, LabellingConfigError

#: Control → label → how many labels a region with it has at most.
_Offered = dict[str, dict[str, int]]
_TAGS = {"keypointlabels": "KeyPointLabels", "rectanglelabels": "RectangleLabels", "choices": "Choices"}


def bind_exported(path: Path, regions: Iterable[Any], visibility: Mapping[str, str]) -> Binding:
    """The binding of a config with the controls, labels and choices that were used, and a skeleton of those labels.

    visibility  choice, or label beside another one, → state, as in parallax.yaml

    Raises BadInputError where no region is a keypoint, and where a label is used by two controls of one picture.
    """
    used = _used([r for r in regions if isinstance(r, Mapping) and isinstance(r.get("value"), Mapping)])
    pictures = [picture for picture, kinds in used.items() if any(kinds["keypointlabels"].values())]
    if not pictures:
        raise LabelFileError(f"{path}: expected annotations with keypoint labels, found none")
    root = Element("View")
    for number, picture in enumerate(pictures):
        SubElement(root, "Image", name=picture, value=f"$picture{number}")
        for kind, tag in _TAGS.items():
            for control, labels in used[picture][kind].items():
                _add_control(root, tag, control, picture, labels)
    try:
        binding = bind(tostring(root, encoding="unicode"), None, visibility=visibility)
    except LabellingConfigError as error:
        raise LabelFileError(f"{path}: what its regions name cannot be used: {error}") from error
    for view in binding.views:
        _one_control_per_label(path, view.image, used[view.image]["keypointlabels"], view.marks)
    return binding


def _used(regions: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, _Offered]]:
    """Picture → kind of control → what its regions show of it.  Choices count where they are of a point."""
    regions = list(regions)
    of_points = {str(region.get("id")) for region in regions if region.get("type") == "keypointlabels"}
    used: dict[str, dict[str, _Offered]] = defaultdict(lambda: {kind: defaultdict(dict) for kind in _TAGS})
    for region in regions:
        picture, control, kind = region.get("to_name"), region.get("from_name"), region.get("type")
        if not (isinstance(picture, str) and isinstance(control, str) and kind in _TAGS):
            continue
        if kind != "choices" or str(region.get("id")) in of_points:
            labels = [str(label) for label in region["value"].get(kind) or []]
            offered = used[picture][kind][control]
            for label in labels:
                offered[label] = max(offered.get(label, 0), len(labels))
    return used


def _add_control(root: Element, tag: str, control: str, picture: str, labels: Mapping[str, int]) -> None:
    added = SubElement(root, tag, name=control, toName=picture)
    if tag == "Choices":
        added.set("perRegion", "true")
    elif max(labels.values(), default=1) > 1:
        added.set("choice", "multiple")
    for label in labels:
        SubElement(added, "Choice" if tag == "Choices" else "Label", value=label)


def _one_control_per_label(path: Path, picture: str, points: _Offered, marks: Mapping[str, Mapping[str, Any]]) -> None:
    first: dict[str, str] = {}
    for control, labels in points.items():
        for label in labels:
            if label in marks.get(control, {}):
                continue
            if label in first:
                raise LabelFileError(
                    f"{path}: picture {picture!r}: label {label!r} is used by two controls, {first[label]!r} and {control!r}, "
                    "which may mean different things; rename it in one of them"
                )
            first[label] = control
