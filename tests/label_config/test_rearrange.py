"""The screen of a config that exists is rearranged; what annotations depend on stays."""

from __future__ import annotations

import pytest
from defusedxml.ElementTree import fromstring

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import NO_HOTKEY, build_label_config
from label_config.labelling.rearrange import rearrange
from label_config.settings.skeleton_files import load_skeleton

NAMES = ("nose", "tail", "paw")
SKELETON = load_skeleton({"name": "mouse", "keypoints": list(NAMES)})
LABELS = "".join(f'<Label value="{name}"/>' for name in NAMES)

FLAT = f"""<View>
  <Header value="Mice"/>
  <Image name="a" value="$a"/><KeyPointLabels name="ka" toName="a">{LABELS}</KeyPointLabels>
  <Image name="b" value="$b"/><KeyPointLabels name="kb" toName="b">{LABELS}</KeyPointLabels>
  <TextArea name="remark" toName="a"/>
</View>"""
NESTED = f"""<View><View style="display:flex">
  <View><Header value="left"/><Image name="a" value="$a"/><KeyPointLabels name="ka" toName="a">{LABELS}</KeyPointLabels></View>
  <View><Header value="right"/><View><KeyPointLabels name="kb" toName="b">{LABELS}</KeyPointLabels></View>
    <Image name="b" value="$b"/>
    <Choices name="vb" toName="b" perRegion="true"><Choice value="visible"/><Choice value="occluded"/></Choices></View>
</View></View>"""
CHOSEN = FLAT.replace('<Label value="tail"/>', '<Label value="tail" hotkey="t"/>', 1)
EARLIER = build_label_config(SKELETON, ["a", "b"]).replace('hotkey="1"', 'hotkey="shift+1"')
SIZES = {"a": (1080, 1920), "b": (1080, 1920)}


def arranged(xml: str) -> tuple[str, str]:
    binding = bind(xml, SKELETON)
    return xml, rearrange(xml, binding, SIZES)


@pytest.mark.parametrize("xml", [FLAT, NESTED, CHOSEN, EARLIER])
def test_what_annotations_depend_on_stays(xml: str) -> None:
    before, after = arranged(xml)
    old, new = bind(before, SKELETON), bind(after, SKELETON)
    assert new.views == old.views
    assert new.problems == old.problems
    names = [sorted(e.get("name", "") for e in fromstring(text).iter() if e.get("name")) for text in (before, after)]
    assert names[0] == names[1]


@pytest.mark.parametrize("xml", [FLAT, NESTED, CHOSEN, EARLIER])
def test_doing_it_twice_changes_nothing_more(xml: str) -> None:
    _, once = arranged(xml)
    assert arranged(once)[1] == once


@pytest.mark.parametrize("xml", [FLAT, NESTED, CHOSEN, EARLIER])
def test_every_camera_is_a_cell_of_one_grid_with_its_labels_above(xml: str) -> None:
    root = fromstring(arranged(xml)[1])
    (grid,) = [view for view in root.iter("View") if "grid-template-columns: repeat(2" in (view.get("style") or "")]
    assert [[image.get("name") for image in cell.iter("Image")] for cell in grid] == [["a"], ["b"]]
    assert all(len(list(cell.iter("KeyPointLabels"))) == 1 for cell in grid)
    assert {image.get("maxHeight", "")[:5] for image in root.iter("Image")} == {"calc("}


@pytest.mark.parametrize("xml", [FLAT, NESTED, CHOSEN, EARLIER])
def test_a_label_has_one_key_in_all_cameras_and_the_smart_tool_is_there(xml: str) -> None:
    root = fromstring(arranged(xml)[1])
    first, second = ([label.get("hotkey") for label in control] for control in root.iter("KeyPointLabels"))
    assert first == second
    assert len(set(first)) == len(NAMES)
    assert NO_HOTKEY not in first
    assert {control.get("smart") for control in root.iter("KeyPointLabels")} == {"true"}


def test_a_key_that_somebody_chose_stays() -> None:
    keys = [label.get("hotkey") for label in fromstring(arranged(CHOSEN)[1]).iter("Label") if label.get("value") == "tail"]
    assert keys == ["t", "t"]


def test_headings_and_questions_stay() -> None:
    root = fromstring(arranged(FLAT)[1])
    assert [header.get("value") for header in root.iter("Header")] == ["Mice"]
    assert [area.get("name") for area in root.iter("TextArea")] == ["remark"]
    cells = [[header.get("value") for header in fromstring(arranged(NESTED)[1]).iter("Header")]]
    assert cells == [["left", "right"]]
