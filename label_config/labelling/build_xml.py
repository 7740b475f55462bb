"""A labelling config for any number of cameras.

One ``<Image>`` and one ``<KeyPointLabels>`` per camera in a grid; lists of pictures and controls that serve several
pictures break Label Studio's export or labelling by hand.  Names are fixed: picture ``<view>``, its data key
``$<view>``, points ``kp_<view>``, visibility ``vis_<view>``, box ``box_<view>``.

**Visibility** is a choice on each point: visible (also when nothing is chosen), occluded, absent.  A keypoint that is
not in the picture is said so on its point: the usual case is a predicted point that should not be there, and then one
click on "absent" is all.  Where no point is shown, one is placed anywhere and marked absent; its place is ignored.
A point that a person deletes is unlabelled, which says nothing about the keypoint.

**Hotkeys.**  Label Studio gives every label without a hotkey the next free key, its own tools' keys included.  So every
label has one here: plain keys in the first camera, the same with shift in the second, and from then on
``NO_HOTKEY``, a character that no key produces.  A key cannot serve the same keypoint in two cameras.

**Layout.**  The choice stands beside the camera's name: in sight, and nothing moves when it appears.

**maxUsages** is left out: it counts a label over all cameras, not over one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from label_config.labelling.colours import keypoint_colours
from label_config.values.errors import LabellingConfigError
from label_config.values.skeleton import Skeleton

#: Single keys that no tool of Label Studio's image editor uses (keymap of 1.23.2): its tools are v (move), h (pan),
#: k (key point), r (rectangle), b, e, m, o, p, w; u drops the selection.
HOTKEYS = "1234567890" + "qasdfgtyzxcijln"
#: Key combinations with shift that zoom the picture.
RESERVED_WITH_SHIFT = "12"
#: A hotkey that cannot be typed (an em dash has no key code).
NO_HOTKEY = "—"

#: Room for the tools beside a picture.  Without it Label Studio fits the picture before the tools appear (42 px) and then
#: shows it zoomed in, its edges and the points on them hidden.
PICTURE_WIDTH = "calc(100% - 48px)"

VISIBILITY_CHOICES = ("visible", "occluded", "absent")
BOX_LABEL = "subject"
#: Task data that the optional heading shows.
REASON_KEY = "parallax_reason"

_BOX_COLOUR = "#FFFFFF"
_RESERVED_PREFIXES = ("kp_", "vis_", "box_", "parallax_")


def safe_view_names(views: Sequence[str]) -> dict[str, str]:
    """View → name that may stand in a config and as a task data key: itself where it is plain, else a unique cleaned one."""
    if not views or len(set(views)) < len(views):
        raise LabellingConfigError(f"views: expected different camera names, got {', '.join(views) or 'none'}")
    safe: dict[str, str] = {}
    plain = {view for view in views if _cleaned(view) == view}
    for view in views:
        name, number = _cleaned(view), 1
        while name != view and (name in plain or name in safe.values()):
            number += 1
            name = f"{_cleaned(view)}_{number}"
        safe[view] = name
    return safe


def _cleaned(view: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", view)
    return name if re.match(r"[A-Za-z]", name) and not name.startswith(_RESERVED_PREFIXES) else f"v_{name}"


def build_label_config(
    skeleton: Skeleton, views: Sequence[str], *, visibility: bool = True, boxes: bool = False, reason: bool = True
) -> str:
    """The XML of a labelling config.

    views       camera names in the order of the grid; see ``safe_view_names`` for what becomes of odd ones
    visibility  a choice visible / occluded / absent on each point
    boxes       a box per subject and camera, the parent of its points
    reason      a heading with the task's ``parallax_reason``; tasks without one stay valid and show nothing

    Raises BadInputError for a view given twice or none.
    """
    names = safe_view_names(views)
    root = ElementTree.Element("View")
    if reason:
        ElementTree.SubElement(root, "Header", value=f"${REASON_KEY}", size="5")
    columns = min(4, math.ceil(math.sqrt(len(views))))
    style = f"display: grid; grid-template-columns: repeat({columns}, minmax(0, 1fr)); gap: 8px"
    grid = ElementTree.SubElement(root, "View", style=style)
    colours = keypoint_colours(skeleton)
    for position, (view, name) in enumerate(names.items()):
        cell = ElementTree.SubElement(grid, "View")
        # Of a fixed height: the choice appears when a point is selected, and must not move the picture under the mouse.
        title = ElementTree.SubElement(cell, "View", style="display: flex; justify-content: space-between; height: 40px")
        ElementTree.SubElement(title, "Header", value=view, size="5")
        if visibility:
            _add_visibility(title, name)
        _add_points(cell, name, skeleton, colours, _hotkeys(position, len(skeleton)))
        if boxes:
            _add_box(cell, name)
        attributes = {"name": name, "value": f"${name}", "width": PICTURE_WIDTH}
        ElementTree.SubElement(cell, "Image", attributes, zoom="true", zoomControl="true", rotateControl="false")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_points(cell: ElementTree.Element, name: str, skeleton: Skeleton, colours: Sequence[str], hotkeys: Sequence[str]) -> None:
    control = ElementTree.SubElement(cell, "KeyPointLabels", name=f"kp_{name}", toName=name, strokeWidth="3", opacity="0.9")
    for index, (keypoint, colour, hotkey) in enumerate(zip(skeleton.keypoints, colours, hotkeys, strict=True)):
        # Label Studio's own COCO export asks for model_index
        ElementTree.SubElement(control, "Label", value=keypoint, background=colour, hotkey=hotkey, model_index=str(index))


def _add_box(cell: ElementTree.Element, name: str) -> None:
    control = ElementTree.SubElement(cell, "RectangleLabels", name=f"box_{name}", toName=name, strokeWidth="1", fillOpacity="0")
    ElementTree.SubElement(control, "Label", value=BOX_LABEL, background=_BOX_COLOUR, hotkey=NO_HOTKEY)


def _add_visibility(cell: ElementTree.Element, name: str) -> None:
    attributes = {"name": f"vis_{name}", "toName": name, "perRegion": "true", "choice": "single", "showInline": "true"}
    control = ElementTree.SubElement(cell, "Choices", attributes)
    for choice in VISIBILITY_CHOICES:
        ElementTree.SubElement(control, "Choice", value=choice, hotkey=NO_HOTKEY)


def _hotkeys(position: int, count: int) -> list[str]:
    """Hotkeys of the labels of the camera at a position of the grid."""
    if position == 0:
        keys = list(HOTKEYS)
    elif position == 1:
        keys = [NO_HOTKEY if key in RESERVED_WITH_SHIFT else f"shift+{key}" for key in HOTKEYS]
    else:
        keys = []
    return (keys + [NO_HOTKEY] * count)[:count]
