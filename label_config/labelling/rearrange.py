"""Rearrange the labelling screen of a config that exists: all cameras in sight, small labels, one key per keypoint.

Only layout, keys and the smart tool change.  Every control keeps its name, picture and labels, so that annotations that exist
stay what they are; whatever else is asked stays in its order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from label_config.labelling.binding import Binding, ViewBinding
from label_config.labelling.build_xml import HOTKEYS, NO_HOTKEY, PICTURE_WIDTH, label_hotkeys
from label_config.labelling.screen_layout import CLASS, USUAL_SIZE, ScreenLayout, grid_style, lay_out, style_of
from label_config.labelling.xml_tags import control_tags, parse_config
from label_config.values.errors import LabellingConfigError

#: Keys that earlier configs of ours gave out, camera by camera.
_EARLIER = {NO_HOTKEY, *(f"shift+{key}" for key in HOTKEYS)}


def rearrange(xml: str, binding: Binding, sizes_px: Mapping[str, tuple[int, int]]) -> str:
    """The config with another layout.

    binding   what the config means
    sizes_px  view → (width, height) of its pictures; where absent, wide pictures are expected

    Raises LabellingConfigError where a control would not be the same afterwards.
    """
    root = parse_config(xml)
    before = _meaning(root)
    labels = list(dict.fromkeys(label.get("value") or "" for view in binding.views for label in _labels(root, view)))
    layout = lay_out([sizes_px.get(view.view, USUAL_SIZE) for view in binding.views], labels)
    cells = [_cell(root, view, binding) for view in binding.views]
    _into_grid(root, cells, layout)
    _one_key_per_label(root, binding, labels)
    for view in binding.views:
        image = _named(root, view.image)
        image.attrib |= {"width": PICTURE_WIDTH, "maxHeight": layout.max_height, "zoom": "true", "zoomControl": "true"}
        for control in view.points:
            _named(root, control).set("smart", "true")
    root.set("className", " ".join(dict.fromkeys([*(root.get("className") or "").split(), CLASS])))
    _set_style(root, layout)
    if _meaning(root) != before:
        raise LabellingConfigError("labelling config: its controls cannot be kept in another layout; arrange it by hand")
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _meaning(root: Element) -> list[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    """What annotations depend on: kind, name, pictures and labels of every control, whatever their order."""
    kinds = {element.tag for element in root.iter() if element.get("toName")}
    controls = [control for kind in sorted(kinds) for control in control_tags(root, kind)]
    found = [(control.kind, control.name, control.targets, control.labels) for control in controls]
    found += [("Image", str(image.get("name")), (str(image.get("value")),), ()) for image in root.iter("Image")]
    return sorted(found)


def _named(root: Element, name: str) -> Element:
    return next(element for element in root.iter() if element.get("name") == name)


def _labels(root: Element, view: ViewBinding) -> list[Element]:
    return [label for control in view.points for label in _named(root, control).iter("Label")]


def _members(view: ViewBinding) -> list[str]:
    """Names of the elements that belong beside a picture."""
    return [*view.visibility, *view.points, *([view.box] if view.box else []), view.image]


def _cell(root: Element, view: ViewBinding, binding: Binding) -> Element:
    """The element that holds a camera's picture and controls, and no other camera's; a new one where they stand among others."""
    mine = {id(_named(root, name)) for name in _members(view)}
    theirs = {id(_named(root, name)) for other in binding.views if other is not view for name in _members(other)}
    best = None
    for element in root.iter("View"):
        inside = {id(below) for below in element.iter()}
        if element is not root and mine <= inside and not theirs & inside:
            best = element
            break  # the outermost comes first
    if best is not None:
        return best
    parents = {id(child): parent for parent in root.iter() for child in parent}
    moved = [element for element in list(root.iter()) if id(element) in mine]
    place = parents[id(moved[0])]
    cell = Element("View")
    place.insert(list(place).index(moved[0]), cell)
    # Labels above the picture, whatever the order was.
    for element in sorted(moved, key=lambda element: element.tag == "Image"):
        parents[id(element)].remove(element)
        cell.append(element)
    return cell


def _into_grid(root: Element, cells: Sequence[Element], layout: ScreenLayout) -> None:
    """Bring the cells together where the first one stands."""
    parents = {id(child): parent for parent in root.iter() for child in parent}
    place = parents[id(cells[0])]
    if place is not root and all(parents[id(cell)] is place for cell in cells) and len(place) == len(cells):
        place.set("style", grid_style(layout))
        return
    grid = Element("View", style=grid_style(layout))
    place.insert(list(place).index(cells[0]), grid)
    for cell in cells:
        parents[id(cell)].remove(cell)
        grid.append(cell)
    _drop_empty(root)


def _drop_empty(element: Element) -> None:
    for child in list(element):
        _drop_empty(child)
        if child.tag == "View" and len(child) == 0 and not (child.text or "").strip():
            element.remove(child)


def _one_key_per_label(root: Element, binding: Binding, labels: Sequence[str]) -> None:
    """A label has the same key in every camera: one that somebody chose where there is one, else the next free one."""
    all_labels = [label for view in binding.views for label in _labels(root, view)]
    chosen: dict[str, str] = {}
    for label in all_labels:
        key = label.get("hotkey")
        if key and key not in _EARLIER:
            chosen.setdefault(label.get("value") or "", key)
    taken = {element.get("hotkey") for element in root.iter() if element.get("hotkey")} | set(chosen.values())
    free = iter([key for key in label_hotkeys(2 * len(HOTKEYS)) if key not in taken])
    keys = {label: chosen.get(label) or next(free, NO_HOTKEY) for label in labels}
    for label in all_labels:
        label.set("hotkey", keys[label.get("value") or ""])


def _set_style(root: Element, layout: ScreenLayout) -> None:
    """Our rules, instead of those that an earlier call wrote."""
    for style in [child for child in root if child.tag == "Style" and f".{CLASS} " in (child.text or "")]:
        root.remove(style)
    style = SubElement(root, "Style")
    style.text = style_of(layout)
    root.remove(style)
    root.insert(0, style)
