"""Poses → regions of Label Studio and back, unchanged."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_config.labelling.binding import Binding, bind
from label_config.labelling.build_xml import build_label_config
from label_config.labelling.region_ids import RegionId
from label_config.labelling.regions import decode, encode, to_percent, to_px
from label_config.values import BadInputError, PointState, Provenance
from tests.label_config.region_samples import GENERATION, SIZES, SKELETON, VIEWS, binding, pose, same, submitted


def test_percent_is_measured_from_the_outer_corner_of_the_first_pixel() -> None:
    # 4 pixels wide: the centre of the first pixel lies at 1/8 of the picture, the middle of the picture between 1 and 2
    assert to_percent(0, 4) == 12.5
    assert to_percent(1.5, 4) == 50.0
    assert to_px(12.5, 4) == 0.0
    assert to_percent(-0.5, 4) == 0.0
    assert to_percent(3.5, 4) == 100.0
    assert to_percent(99, 4) == 100.0  # Label Studio drops what lies beyond


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_percent_and_back(length: int, share: float) -> None:
    px = share * length - 0.5
    assert to_px(to_percent(px, length), length) == pytest.approx(px, abs=1e-9)


@pytest.mark.parametrize("views", [("A",), ("A", "B")])
@pytest.mark.parametrize("boxes", [True, False])
def test_exact_round_trip(views: tuple[str, ...], boxes: bool) -> None:
    shown = pose(views=views)
    bound = binding(views=views, boxes=boxes)
    decoded = decode(submitted(encode({0: shown}, bound, SIZES, GENERATION)), bound, sizes_px=SIZES)
    assert decoded.problems == ()
    assert list(decoded.poses) == [0]
    same(decoded.poses[0], shown)
    assert (decoded.poses[0].provenance == Provenance.ACCEPTED).all()
    assert (decoded.poses[0].confidence == 1).all()
    expected = {(0, v, k): RegionId(GENERATION, v, 0, k) for v in range(len(views)) for k in range(3)}
    assert decoded.shown == expected


def test_round_trip_with_missing_points_and_states() -> None:
    shown = pose(1)
    shown.xy_px[0, 1] = np.nan
    shown.state[0, 1] = PointState.UNLABELLED
    shown.xy_px[1, 2] = np.nan
    shown.state[1, 2] = PointState.ABSENT
    shown.state[1, 0] = PointState.OCCLUDED
    decoded = decode(submitted(encode({0: shown}, binding(), SIZES, GENERATION)), binding())
    same(decoded.poses[0], shown)
    assert decoded.poses[0].provenance[0, 1] == Provenance.NONE
    assert np.isnan(decoded.poses[0].confidence[0, 1])


def test_half_a_point_is_no_point() -> None:
    shown = pose(1)
    shown.xy_px[0, 0, 1] = np.nan
    shown.xy_px[0, 1, 0] = np.inf
    regions = encode({0: shown}, binding(), SIZES, GENERATION)
    assert [r["id"] for r in regions if r["to_name"] == "A"] == ["px:12:0:0:2"]


def test_several_subjects_with_boxes() -> None:
    poses = {0: pose(2), 3: pose(3)}
    boxes = {0: np.array([[10.0, 20, 100, 50], [np.nan] * 4]), 3: np.array([[-0.5, -0.5, 640, 480], [5.0, 6, 7, 8]])}
    bound = binding(boxes=True)
    regions = encode(poses, bound, SIZES, GENERATION, boxes_px=boxes)
    decoded = decode(submitted(regions), bound)
    assert list(decoded.poses) == [0, 3]
    for subject in poses:
        same(decoded.poses[subject], poses[subject])
        np.testing.assert_allclose(decoded.boxes_px[subject], boxes[subject], atol=1e-6)
    parents = {r["id"]: r.get("parentID") for r in regions if r["type"] == "keypointlabels"}
    assert parents["px:12:0:3:1"] == "px:12:0:3:b"
    assert parents["px:12:1:0:1"] is None  # no box in that view


def of_three() -> Binding:
    return bind(build_label_config(SKELETON, VIEWS, boxes=True, subjects=3), SKELETON)


@pytest.mark.parametrize("numbered", [True, False])
def test_the_label_of_a_box_is_its_subjects_number_where_it_is_known(numbered: bool) -> None:
    boxes = {s: np.array([[10.0 + 50 * s, 20, 40, 50]] * 2) for s in (0, 2)}
    regions = encode({0: pose(2), 2: pose(3)}, of_three(), SIZES, GENERATION, boxes_px=boxes, numbered=numbered)
    labels = {r["id"]: r["value"]["rectanglelabels"] for r in regions if r["type"] == "rectanglelabels"}
    assert labels["px:12:0:2:b"] == (["3"] if numbered else ["subject"])
    decoded = decode(submitted(regions), of_three())
    assert decoded.unnumbered == (set() if numbered else {0, 2})
    same(decoded.poses[2], pose(3))


def test_a_box_that_gets_another_number_takes_its_points_along() -> None:
    boxes = {s: np.array([[10.0 + 50 * s, 20, 40, 50]] * 2) for s in (0, 1)}
    regions = submitted(encode({0: pose(2), 1: pose(3)}, of_three(), SIZES, GENERATION, boxes_px=boxes))
    by_id = {region["id"]: region for region in regions}
    for name, number in (("px:12:0:0:b", "2"), ("px:12:0:1:b", "1")):  # in the first camera the two were exchanged
        by_id[name]["value"] = {**by_id[name]["value"], "rectanglelabels": [number]}
    decoded = decode(regions, of_three())
    np.testing.assert_allclose(decoded.poses[1].xy_px[0], pose(2).xy_px[0], atol=1e-3)
    np.testing.assert_allclose(decoded.poses[1].xy_px[1], pose(3).xy_px[1], atol=1e-3)
    np.testing.assert_allclose(decoded.boxes_px[0][0], boxes[1][0], atol=1e-6)


def test_points_of_a_box_that_was_deleted_are_deleted_with_it() -> None:
    boxes = {s: np.array([[10.0 + 50 * s, 20, 40, 50]] * 2) for s in (0, 1)}
    regions = submitted(encode({0: pose(2), 1: pose(3)}, of_three(), SIZES, GENERATION, boxes_px=boxes))
    left = [region for region in regions if region["id"] != "px:12:0:1:b"]
    decoded = decode(left, of_three())
    assert not decoded.poses[1].placed[0].any()
    same(decoded.poses[0], pose(2))
    np.testing.assert_allclose(decoded.poses[1].xy_px[1], pose(3).xy_px[1], atol=1e-3)


def test_several_subjects_without_boxes_are_told_apart_by_their_ids() -> None:
    poses = {0: pose(2), 1: pose(3)}
    decoded = decode(submitted(encode(poses, binding(), SIZES, GENERATION)), binding())
    assert decoded.problems == ()
    for subject in poses:
        same(decoded.poses[subject], poses[subject])


def test_what_a_region_looks_like() -> None:
    shown = pose(4)
    shown.xy_px[0, 1] = [319.5, 119.5]
    shown.state[0, 1] = PointState.OCCLUDED
    shown.confidence[0, 1] = 1.3
    regions = encode({0: shown}, binding(), SIZES, GENERATION, notes={(0, 0, 1): "2.1 px"})
    point, choice = [r for r in regions if r["id"] == "px:12:0:0:1"]
    place = {"to_name": "A", "original_width": 640, "original_height": 480, "image_rotation": 0, "id": "px:12:0:0:1"}
    assert point == {
        **place,
        "type": "keypointlabels",
        "from_name": "kp_A",
        "value": {"x": 50.0, "y": 25.0, "width": 0.8, "keypointlabels": ["left hand"]},
        "score": 1.0,
        "meta": {"text": ["2.1 px"]},
    }
    assert choice == {
        **place,
        "type": "choices",
        "from_name": "vis_A",
        "value": {"x": 50.0, "y": 25.0, "width": 0.8, "choices": ["occluded"]},
    }
    assert all("meta" not in r for r in regions if r["id"] != "px:12:0:0:1")


def test_numbers_stay_within_what_label_studio_keeps() -> None:
    shown = pose(5)
    shown.xy_px[0, 0] = [-1e9, 1e9]
    shown.confidence[0] = [np.nan, -0.2, 7]
    first, second, third = (r for r in encode({0: shown}, binding(), SIZES, GENERATION) if r["to_name"] == "A")
    assert (first["value"]["x"], first["value"]["y"]) == (0.0, 100.0)
    assert "score" not in first
    assert (second["score"], third["score"]) == (0.0, 1.0)
    json.dumps(first, allow_nan=False)


def test_a_config_without_visibility_leaves_absent_points_out() -> None:
    shown = pose(6)
    shown.state[0] = [PointState.ABSENT, PointState.OCCLUDED, PointState.VISIBLE]
    regions = encode({0: shown}, binding(visibility=False), SIZES, GENERATION)
    assert [r["id"] for r in regions if r["to_name"] == "A"] == ["px:12:0:0:1", "px:12:0:0:2"]
    assert {r["type"] for r in regions} == {"keypointlabels"}


def test_a_keypoint_without_a_label_in_a_view_is_not_sent() -> None:
    xml = build_label_config(SKELETON, VIEWS).replace('value="head"', 'value="something else"', 1)
    sent = encode({0: pose()}, bind(xml, SKELETON), SIZES, GENERATION)
    assert "px:12:0:0:0" not in {r["id"] for r in sent}
    assert "px:12:1:0:0" in {r["id"] for r in sent}


def test_encode_refuses_what_does_not_fit() -> None:
    with pytest.raises(BadInputError, match=r"\(2, 3\).*got \(1, 3\)"):
        encode({0: pose(views=("A",))}, binding(), SIZES, GENERATION)
    with pytest.raises(BadInputError, match="view 'B'"):
        encode({0: pose()}, binding(), {"A": (640, 480)}, GENERATION)


@pytest.mark.parametrize(("boxes", "visibility"), [(True, True), (False, True), (False, False)])
def test_label_studio_accepts_config_and_prediction(boxes: bool, visibility: bool) -> None:
    """Its SDK holds the very checks by which an import drops predictions."""
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface
    xml = build_label_config(SKELETON, VIEWS, boxes=boxes, visibility=visibility, reason=True)
    bound = bind(xml, SKELETON)
    shown = pose(7)
    shown.state[0, 0] = PointState.OCCLUDED
    shown.state[1, 0] = PointState.ABSENT
    box_px = {0: np.array([[10.0, 20, 100, 50], [1.0, 2, 30, 40]])}
    result = encode({0: shown}, bound, SIZES, GENERATION, boxes_px=box_px, notes={(0, 0, 0): "note"})
    label_interface = interface(xml)
    label_interface.validate()
    errors = label_interface.validate_prediction({"result": result, "score": 0.5, "model_version": "px"}, return_errors=True)
    assert errors == []
    next(r for r in result if r["type"] == "keypointlabels")["value"]["keypointlabels"] = ["nobody"]  # the check can fail
    assert label_interface.validate_prediction({"result": result}, return_errors=True) != []
