"""A labelling config for any number of cameras.

One ``<Image>`` and one ``<KeyPointLabels>`` per camera in a grid; lists of pictures and controls that serve several
pictures break Label Studio's export or labelling by hand.  Names are fixed: picture ``<view>``, its data key
``$<view>``, points ``kp_<view>``, visibility ``vis_<view>``, box ``box_<view>``.

**Visibility** is a choice on each point: visible (also when nothing is chosen), occluded, absent.  A keypoint that is
not in the picture is said so on its point: the usual case is a predicted point that should not be there, and then one
click on "absent" is all.  Where no point is shown, one is placed anywhere and marked absent; its place is ignored.
A point that a person deletes is unlabelled, which says nothing about the keypoint.

**Hotkeys.**  Label Studio gives every label without a hotkey the next free key, its own tools' keys included.  So every
label has one here, the same in all cameras: a key selects the keypoint everywhere, and the next click places it in the
camera in which it falls.  After the plain keys come those with shift, then ``NO_HOTKEY``, which no key produces.

**Layout.**  All cameras in sight at once, see ``screen_layout``.  The choice stands beside the camera's name, and nothing
moves when it appears.

**Smart tool.**  With Label Studio's "Auto-Annotation" on, a click brings the keypoint to all cameras.

**maxUsages** is left out: it counts a label over all cameras, not over one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from label_config.labelling.box_numbers import BOX_LABEL, number_word
from label_config.labelling.colours import keypoint_colours
from label_config.labelling.screen_layout import CLASS, TITLE_STYLE, TOOLS_PX, USUAL_SIZE, grid_style, lay_out, style_of
from label_config.values.errors import LabellingConfigError
from label_config.values.skeleton import Skeleton

#: Single keys that no tool of Label Studio's image editor uses (keymap of 1.23.2): its tools are v (move), h (pan),
#: k (key point), r (rectangle), b, e, m, o, p, w; u drops the selection.
HOTKEYS = "1234567890" + "qasdfgtyzxcijln"
#: Key combinations with shift that zoom the picture.
RESERVED_WITH_SHIFT = "12"
#: A hotkey that cannot be typed (an em dash has no key code).
NO_HOTKEY = "—"

#: Room for the tools beside a picture.  Without it Label Studio fits the picture before the tools appear and then shows it
#: zoomed in, its edges and the points on them hidden.
PICTURE_WIDTH = f"calc(100% - {TOOLS_PX}px)"

VISIBILITY_CHOICES = ("visible", "occluded", "absent")
#: Task data that the optional heading shows.
REASON_KEY = "parallax_reason"
#: Task data with the link to the frame on Parallax's web page.
PAGE_KEY = "parallax_page"

_BOX_COLOUR = "#FFFFFF"
#: Of subjects 1, 2, …, then again from the first: apart for colour-blind eyes (Okabe & Ito 2008), none of them a keypoint's hue.
_SUBJECT_COLOURS = ("#F0E442", "#CC79A7", "#009E73", "#56B4E9", "#D55E00", "#000000")
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
    skeleton: Skeleton,
    views: Sequence[str],
    *,
    sizes_px: Mapping[str, tuple[int, int]] | None = None,
    visibility: bool = True,
    boxes: bool = False,
    subjects: int = 1,
    reason: bool = True,
) -> str:
    """The XML of a labelling config.

    views       camera names in the order of the grid; see ``safe_view_names`` for what becomes of odd ones
    sizes_px    view → (width, height) of its pictures, for the layout; where absent, wide pictures are expected
    visibility  a choice visible / occluded / absent on each point
    boxes       a box per subject and camera, the parent of its points
    subjects    how many there may be; of several, the label of a box is the subject's number, the same in all cameras
    reason      a heading with the task's ``parallax_reason``, and a link to the frame on Parallax's page (``parallax_page``);
                tasks without them stay valid

    Raises BadInputError for a view given twice or none.
    """
    names = safe_view_names(views)
    layout = lay_out([(sizes_px or {}).get(view, USUAL_SIZE) for view in views], skeleton.keypoints)
    root = ElementTree.Element("View", className=CLASS)
    ElementTree.SubElement(root, "Style").text = style_of(layout)
    if reason:
        line = ElementTree.SubElement(
            root, "View", style="display: flex; gap: 16px; align-items: baseline; height: 24px; overflow: hidden"
        )
        ElementTree.SubElement(line, "Header", value=f"${REASON_KEY}", size="5", style="margin: 0")
        ElementTree.SubElement(line, "Markdown", value=f"${PAGE_KEY}")
    grid = ElementTree.SubElement(root, "View", style=grid_style(layout))
    colours, hotkeys = keypoint_colours(skeleton), label_hotkeys(len(skeleton))
    for view, name in names.items():
        cell = ElementTree.SubElement(grid, "View")
        # Of a fixed height: the choice appears when a point is selected, and must not move the picture under the mouse.
        title = ElementTree.SubElement(cell, "View", style=TITLE_STYLE)
        ElementTree.SubElement(title, "Header", value=view, size="5", style="margin: 0")
        if visibility:
            _add_visibility(title, name)
        _add_points(cell, name, skeleton, colours, hotkeys)
        if boxes:
            _add_box(cell, name, subjects)
        attributes = {"name": name, "value": f"${name}", "width": PICTURE_WIDTH, "maxHeight": layout.max_height}
        ElementTree.SubElement(cell, "Image", attributes, zoom="true", zoomControl="true", rotateControl="false")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_points(cell: ElementTree.Element, name: str, skeleton: Skeleton, colours: Sequence[str], hotkeys: Sequence[str]) -> None:
    attributes = {"name": f"kp_{name}", "toName": name, "strokeWidth": "3", "opacity": "0.9", "smart": "true"}
    control = ElementTree.SubElement(cell, "KeyPointLabels", attributes)
    for index, (keypoint, colour, hotkey) in enumerate(zip(skeleton.keypoints, colours, hotkeys, strict=True)):
        # Label Studio's own COCO export asks for model_index
        ElementTree.SubElement(control, "Label", value=keypoint, background=colour, hotkey=hotkey, model_index=str(index))


def _add_box(cell: ElementTree.Element, name: str, subjects: int) -> None:
    width = "1" if subjects == 1 else "2"  # colours must be seen where boxes overlap
    control = ElementTree.SubElement(cell, "RectangleLabels", name=f"box_{name}", toName=name, strokeWidth=width, fillOpacity="0")
    for subject in range(subjects if subjects > 1 else 0):
        colour = _SUBJECT_COLOURS[subject % len(_SUBJECT_COLOURS)]
        ElementTree.SubElement(control, "Label", value=number_word(subject), background=colour, hotkey=NO_HOTKEY)
    ElementTree.SubElement(control, "Label", value=BOX_LABEL, background=_BOX_COLOUR, hotkey=NO_HOTKEY)


def _add_visibility(cell: ElementTree.Element, name: str) -> None:
    attributes = {"name": f"vis_{name}", "toName": name, "perRegion": "true", "choice": "single", "showInline": "true"}
    control = ElementTree.SubElement(cell, "Choices", attributes)
    for choice in VISIBILITY_CHOICES:
        ElementTree.SubElement(control, "Choice", value=choice, hotkey=NO_HOTKEY)


def label_hotkeys(count: int) -> list[str]:
    """The hotkeys of so many labels."""
    with_shift = [f"shift+{key}" for key in HOTKEYS if key not in RESERVED_WITH_SHIFT]
    return ([*HOTKEYS, *with_shift] + [NO_HOTKEY] * count)[:count]
