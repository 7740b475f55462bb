import itertools
import re
from typing import Any

import numpy as np
import pytest
from defusedxml.ElementTree import fromstring

from label_config.labelling.build_xml import (
    HOTKEYS,
    NO_HOTKEY,
    PAGE_KEY,
    PICTURE_WIDTH,
    REASON_KEY,
    build_label_config,
    safe_view_names,
)
from label_config.labelling.colours import keypoint_colours
from label_config.settings.skeleton_files import load_skeleton
from label_config.values import BadInputError, FloatArray
from label_config.values.skeleton import Skeleton

#: Single keys of Label Studio's image editor (its keymap: move, pan, key point, rectangle, brush, eraser, auto-detect,
#: ellipse, polygon, magic wand, unselect) and its zoom keys.
EDITOR_KEYS = {*"vhkrbemopwu", "shift+1", "shift+2", "shift+r"}


def views(count: int) -> list[str]:
    return [f"cam{i}" for i in range(count)]


@pytest.mark.parametrize("count", [1, 4, 8])
@pytest.mark.parametrize("options", [{}, {"visibility": False}, {"boxes": True, "reason": False}])
def test_every_camera_has_its_own_picture_and_labels(count: int, options: dict[str, Any]) -> None:
    skeleton = load_skeleton("coco17")
    root = fromstring(build_label_config(skeleton, views(count), **options))
    images = root.findall(".//Image")
    controls = root.findall(".//KeyPointLabels")
    assert [(i.get("name"), i.get("value")) for i in images] == [(v, f"${v}") for v in views(count)]
    assert [(c.get("name"), c.get("toName")) for c in controls] == [(f"kp_{v}", v) for v in views(count)]
    for control in controls:
        assert [label.get("value") for label in control] == list(skeleton.keypoints)
        assert [label.get("model_index") for label in control] == [str(i) for i in range(17)]
        assert all("maxUsages" not in label.attrib for label in control)
    names = [tag.get("name") for tag in root.iter() if tag.get("name")]
    assert len(names) == len(set(names))
    assert [c.get("toName") for c in root.findall(".//Choices")] == (views(count) if options.get("visibility", True) else [])
    assert [c.get("toName") for c in root.findall(".//RectangleLabels")] == (views(count) if options.get("boxes") else [])


@pytest.mark.parametrize("name", ["coco17", "hand21"])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_hotkeys_leave_nothing_for_label_studio_to_assign(name: str, count: int) -> None:
    root = fromstring(build_label_config(load_skeleton(name), views(count), boxes=True))
    keys = [tag.get("hotkey") for tag in root.iter() if tag.tag in ("Label", "Choice")]
    assert None not in keys  # a label without a hotkey would be given v or k
    assert not EDITOR_KEYS.intersection(keys)
    assert not NO_HOTKEY.isascii()


def test_a_keypoint_has_the_same_key_in_every_camera_and_no_two_share_one() -> None:
    root = fromstring(build_label_config(load_skeleton("coco17"), views(8)))
    first, *others = ([label.get("hotkey") for label in control] for control in root.findall(".//KeyPointLabels"))
    assert first == list(HOTKEYS[:17])
    assert others == [first] * 7


def test_a_skeleton_larger_than_the_keyboard_still_builds() -> None:
    big = Skeleton("big", tuple(f"p{i}" for i in range(60)))
    keys = [label.get("hotkey") for label in fromstring(build_label_config(big, ["a"])).iter("Label")]
    typed = [key for key in keys if key != NO_HOTKEY]
    assert typed == [*HOTKEYS, *(f"shift+{key}" for key in HOTKEYS[2:])]
    assert keys == [*typed, *[NO_HOTKEY] * (60 - len(typed))]


def test_the_reason_heading_is_an_option_and_no_object_that_tasks_must_fill() -> None:
    with_reason = fromstring(build_label_config(load_skeleton("coco17"), ["a"]))
    (heading,) = [tag for tag in with_reason.iter() if tag.get("value") == f"${REASON_KEY}"]
    assert heading.tag == "Header"
    assert heading.get("name") is None  # only named tags make a task data key compulsory
    (link,) = with_reason.iter("Markdown")
    assert link.get("value") == f"${PAGE_KEY}"
    assert link.get("name") is None
    assert REASON_KEY not in build_label_config(load_skeleton("coco17"), ["a"], reason=False)


def test_pictures_leave_room_for_their_tools_and_the_choice_stands_in_a_row_of_fixed_height() -> None:
    """Both keep what a person points at in place; the browser tests look at the outcome."""
    root = fromstring(build_label_config(load_skeleton("coco17"), views(2)))
    assert {image.get("width") for image in root.iter("Image")} == {PICTURE_WIDTH}
    rows = [view for view in root.iter("View") if view.find("Choices") is not None]
    assert [row.findall("Header")[0].get("value") for row in rows] == views(2)
    assert all("height: 26px" in row.get("style", "") for row in rows)


def test_odd_names_are_escaped_and_mapped() -> None:
    odd = ["A", "cam 2", "3", "kp_A", "cam-2", 'x"<&>', "Ä"]
    names = safe_view_names(odd)
    assert list(names) == odd
    assert names["A"] == "A"
    assert names["cam 2"] == "cam_2"
    assert names["cam-2"] == "cam_2_2"
    assert names["3"] == "v_3"
    assert names["kp_A"] == "v_kp_A"  # else it would clash with the points of A
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in names.values())
    assert len(set(names.values())) == len(odd)
    skeleton = Skeleton("odd", ('a"b', "<&>", "c,d"))
    root = fromstring(build_label_config(skeleton, odd, reason=False))
    assert [label.get("value") for label in root.findall(".//KeyPointLabels")[0]] == list(skeleton.keypoints)
    assert [header.get("value") for header in root.iter("Header")] == odd


def test_a_plain_name_is_never_taken_away_by_a_cleaned_one() -> None:
    assert safe_view_names(["a b", "a_b"]) == {"a b": "a_b_2", "a_b": "a_b"}
    assert safe_view_names(["a b", "a-b", "a_b_2"]) == {"a b": "a_b", "a-b": "a_b_3", "a_b_2": "a_b_2"}


@pytest.mark.parametrize("wrong", [[], ["a", "a"]])
def test_views_must_differ(wrong: list[str]) -> None:
    with pytest.raises(BadInputError, match="different camera names"):
        build_label_config(load_skeleton("coco17"), wrong)


def linear(colour: str) -> FloatArray:
    srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


#: Viénot, Brettel & Mollon 1999, linear RGB as seen with no L cones and with no M cones.
DICHROMATS = {
    "protan": np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]),
    "deutan": np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]),
}


@pytest.mark.parametrize("eye", sorted(DICHROMATS))
def test_left_and_right_stay_apart_for_colour_blind_eyes(eye: str) -> None:
    """Red-green dichromats see two dimensions, yellow-blue and brightness; the sides must lie on two sides of grey."""
    skeleton = load_skeleton("coco17")
    seen: dict[str, list[Any]] = {side: [] for side in ("left", "right", "centre")}
    for index, colour in enumerate(keypoint_colours(skeleton)):
        rgb = DICHROMATS[eye] @ linear(colour)
        seen[skeleton.side(index)].append((rgb[2] - rgb[0]) / rgb.sum())  # > 0 bluish, < 0 yellowish
    assert min(seen["left"]) > 0.1
    assert max(seen["right"]) < -0.1
    assert max(np.abs(seen["centre"])) < 0.05


@pytest.mark.parametrize("name", ["coco17", "hand21"])
def test_no_two_keypoints_share_a_colour(name: str) -> None:
    colours = keypoint_colours(load_skeleton(name))
    assert all(re.fullmatch(r"#[0-9A-F]{6}", colour) for colour in colours)
    nearest = min(np.linalg.norm(linear(a) - linear(b)) for a, b in itertools.combinations(colours, 2))
    assert nearest > 0.01
