"""What people and other programs do to regions, and what is read from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.labelling import region_decode
from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.labelling.region_ids import RegionId
from label_config.labelling.regions import decode, encode
from label_config.values import PointState, Provenance
from tests.label_config.region_samples import GENERATION, SIZES, SKELETON, binding, pose, region, same, submitted, words


def test_moved_and_new_points_are_placed_and_untouched_ones_accepted() -> None:
    regions = submitted(encode({0: pose(8)}, binding(), SIZES, GENERATION))
    regions[0] |= {"origin": "prediction-changed", "value": {**regions[0]["value"], "x": 10.0}}
    regions[1] |= {"origin": "manual", "id": "Xy1"}
    decoded = decode(regions, binding(), sizes_px=SIZES).poses[0]
    assert decoded.provenance[0].tolist() == [Provenance.PLACED, Provenance.PLACED, Provenance.ACCEPTED]
    assert decoded.xy_px[0, 0, 0] == pytest.approx(63.5)


@pytest.mark.parametrize(
    ("name", "origin", "expected"),
    [
        ("px:3:0:0:0", None, Provenance.ACCEPTED),
        ("abc", None, Provenance.PLACED),
        ("abc", "prediction", Provenance.ACCEPTED),
        ("px:3:0:0:0", "manual", Provenance.PLACED),
    ],
)
def test_provenance_without_an_origin_follows_the_id(name: str, origin: str | None, expected: Provenance) -> None:
    assert decode([region(id=name, origin=origin)], binding()).poses[0].provenance[0, 0] == expected


def test_choosing_absent_on_an_untouched_point_is_a_persons_word() -> None:
    point = region(id="px:3:0:0:0", origin="prediction")
    choice = {"id": "px:3:0:0:0", "type": "choices", "from_name": "vis_A", "origin": "manual", "value": {"choices": ["absent"]}}
    decoded = decode([choice, point], binding()).poses[0]  # in any order
    assert decoded.state[0, 0] == PointState.ABSENT
    assert decoded.provenance[0, 0] == Provenance.PLACED
    assert np.isnan(decoded.xy_px[0, 0]).all()


def test_choosing_occluded_leaves_the_place_accepted() -> None:
    point = region(id="px:3:0:0:0", origin="prediction")
    choice = {"id": "px:3:0:0:0", "type": "choices", "from_name": "vis_A", "origin": "manual", "value": {"choices": ["occluded"]}}
    decoded = decode([point, choice], binding()).poses[0]
    assert (decoded.state[0, 0], decoded.provenance[0, 0]) == (PointState.OCCLUDED, Provenance.ACCEPTED)
    np.testing.assert_allclose(decoded.xy_px[0, 0], [319.5, 119.5])


def test_deleted_points_are_unlabelled_and_not_among_the_shown() -> None:
    regions = submitted(encode({0: pose(9)}, binding(), SIZES, GENERATION))
    kept = [r for r in regions if r["id"] != "px:12:1:0:2"]
    decoded = decode(kept, binding())
    assert decoded.poses[0].state[1, 2] == PointState.UNLABELLED
    assert (0, 1, 2) not in decoded.shown
    assert len(decoded.shown) == 5


def test_a_relabelled_point_counts_for_its_new_label_and_remembers_what_was_shown() -> None:
    decoded = decode([region(id="px:3:0:0:0", origin="prediction-changed", value={"keypointlabels": ["right hand"]})], binding())
    assert decoded.poses[0].state[0].tolist() == [PointState.UNLABELLED, PointState.UNLABELLED, PointState.VISIBLE]
    assert decoded.shown == {(0, 0, 2): RegionId(3, 0, 0, 0)}


@pytest.mark.parametrize(
    ("origins", "winner"),
    [
        (["prediction", "manual"], 1),
        (["manual", "prediction"], 0),
        (["manual", "manual"], 1),
        (["prediction", "prediction"], 1),
        (["prediction-changed", "prediction", "prediction"], 0),
    ],
)
def test_of_two_points_for_one_keypoint_the_last_placed_counts(origins: list[str], winner: int) -> None:
    regions = [region(id=f"r{i}", origin=origin, value={"x": 10.0 * (i + 1)}) for i, origin in enumerate(origins)]
    decoded = decode(regions, binding())
    assert decoded.poses[0].xy_px[0, 0, 0] == pytest.approx(64 * (winner + 1) - 0.5)
    (problem,) = decoded.problems
    assert (problem.severity, problem.view, problem.keypoint) == ("warning", "A", "head")


def box(name: str, x: float, width: float, view: str = "A") -> dict[str, Any]:
    value = {"x": x, "y": 0.0, "width": width, "height": 100.0, "rotation": 0, "rectanglelabels": ["subject"]}
    return region(id=name, type="rectanglelabels", from_name=f"box_{view}", to_name=view, value=value)


def test_subjects_by_parent_by_id_and_by_the_smallest_box_around() -> None:
    regions = [
        region(id="p1", parentID="b2", value={"x": 5.0}),  # the parent says b2, although it lies in b1
        region(id="p2", value={"x": 12.0}),  # within both: the smaller one
        region(id="p3", value={"x": 80.0, "keypointlabels": ["left hand"]}),  # within b2 alone
        region(id="px:3:0:7:2", value={"x": 80.0, "keypointlabels": ["right hand"]}),  # its own id
        box("b1", 0, 20),
        box("b2", 0, 100),
        region(id="p4", from_name="kp_B", to_name="B"),  # no box in B
    ]
    decoded = decode(regions, binding(boxes=True))
    assert decoded.problems == ()
    assert {(s, v, k) for s, p in decoded.poses.items() for v, k in np.argwhere(p.placed)} == {
        (1, 0, 0), (0, 0, 0), (1, 0, 1), (7, 0, 2), (0, 1, 0)
    }  # fmt: skip
    assert sorted(decoded.boxes_px) == [0, 1]
    np.testing.assert_allclose(decoded.boxes_px[0][0], [-0.5, -0.5, 128, 480])
    assert np.isnan(decoded.boxes_px[0][1]).all()


def test_of_several_boxes_the_nearest_takes_a_point_outside() -> None:
    left, right = box("px:3:0:0:b", 10, 20), box("px:3:0:1:b", 60, 20)
    outside = region(id="free", origin="manual", value={"x": 58.0, "y": 50.0, "width": 0.5, "keypointlabels": ["head"]})
    assert list(decode([left, right, outside], binding(boxes=True)).poses) == [1]
    assert list(decode([left, outside], binding(boxes=True)).poses) == [0], "one box alone: the only subject, as ever"


def test_drawn_boxes_take_the_numbers_that_ours_leave_free() -> None:
    decoded = decode([box("x", 0, 10), box("px:3:0:0:b", 20, 10), box("y", 40, 10), box("z", 40, 10, "B")], binding(boxes=True))
    assert {s: np.isfinite(b).all(axis=1).tolist() for s, b in decoded.boxes_px.items()} == {
        0: [True, True], 1: [True, False], 2: [True, False]
    }  # fmt: skip


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, {}, "text", 5, b"x"])
def test_a_payload_that_is_no_list_is_one_problem(nothing: object) -> None:
    decoded = decode(nothing, binding())
    assert (decoded.poses, len(decoded.problems)) == ({}, 1)
    assert decoded.problems[0].severity == "error"


def test_an_empty_annotation_is_no_problem() -> None:
    decoded = decode([], binding())
    assert (decoded.poses, decoded.boxes_px, decoded.shown, decoded.problems) == ({}, {}, {}, ())


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (
            {"value": {"keypointlabels": ["hed"]}},
            "labels that are no keypoints; points with them are not used (known: head, left hand, right hand), got 'hed'",
        ),
        ({"value": {"keypointlabels": []}}, "got none"),
        ({"value": {"keypointlabels": None}}, "labels that are no keypoints"),
        ({"value": {"x": 101.5}}, "between 0 and 100 percent"),
        ({"value": {"y": -5}}, "between 0 and 100 percent"),
        ({"value": {"x": "12"}}, "between 0 and 100 percent"),
        ({"value": {"x": float("nan")}}, "between 0 and 100 percent"),
        ({"value": {"x": True}}, "between 0 and 100 percent"),
        ({"value": {"x": 10**5000}}, "between 0 and 100 percent"),
        ({"image_rotation": 90}, "the picture was rotated are not used, got 90°"),
        ({"image_rotation": "left"}, "got 'left'°"),
        (
            {"from_name": "other"},
            "a control that is not in the labelling config, or cannot be used; its points are not used, got 'other'",
        ),
        ({"from_name": ["kp_A"]}, "is not in the labelling config"),
    ],
)
def test_one_bad_region_is_reported_and_the_rest_is_used(wrong: dict[str, Any], expected: str) -> None:
    good = region(id="g", value={"keypointlabels": ["left hand"]})
    decoded = decode([5, region(**wrong), good, None], binding())
    assert decoded.poses[0].placed.sum() == 1
    text = words(decoded)
    assert "error: " in text
    assert expected in text
    assert "2 of 4 regions are no mappings" in text


@pytest.mark.parametrize("wrong", [{"original_width": None}, {"original_height": 0}, {"original_height": 1e300}])
def test_a_region_without_the_size_of_its_picture_waits_for_it(wrong: dict[str, Any]) -> None:
    unsized = {**region(), **wrong}
    good = region(id="g", from_name="kp_B", value={"keypointlabels": ["left hand"]})
    decoded = decode([unsized, good], binding())
    assert (decoded.poses[0].placed.sum(), decoded.unsized, decoded.problems) == (1, frozenset({"A"}), ())
    later = decode([unsized, good], binding(), sizes_px={"A": (640, 480)})
    assert (later.poses[0].placed.sum(), later.unsized) == (2, frozenset())
    np.testing.assert_allclose(later.poses[0].xy_px[0, 0], [319.5, 119.5])


def test_known_sizes_stand_in_for_missing_ones_and_win_over_other_ones() -> None:
    missing = decode([region(original_width=None)], binding(), sizes_px=SIZES)
    assert missing.problems == ()
    np.testing.assert_allclose(missing.poses[0].xy_px[0, 0], [319.5, 119.5])
    other = decode([region(original_width=320, original_height=200)], binding(), sizes_px=SIZES)
    np.testing.assert_allclose(other.poses[0].xy_px[0, 0], [319.5, 119.5])
    assert words(other).endswith("got 320×200 where it is 640×480 now")


@pytest.mark.parametrize("size", [(320, 240), (200, 150), (107, 80), (1280, 960)])
def test_the_same_picture_at_another_size_is_no_trouble(size: tuple[int, int]) -> None:
    width, height = size
    decoded = decode([region(original_width=width, original_height=height)], binding(), sizes_px=SIZES)
    assert decoded.problems == ()
    np.testing.assert_allclose(decoded.poses[0].xy_px[0, 0], [319.5, 119.5])


def test_troubles_of_one_kind_differ_in_what_was_got_alone() -> None:
    """So that they make one line for all tasks, whatever the sizes, angles and places were."""
    wrong: list[dict[str, Any]] = [
        *({"original_width": 320}, {"original_width": 322.0}, {"original_height": 1088}),
        *({"image_rotation": 90}, {"image_rotation": 180}),
        *({"value": {"x": 101.5}}, {"value": {"y": -5, "keypointlabels": ["left hand"]}}),
    ]
    found = [problem for changes in wrong for problem in decode([region(**changes)], binding(), sizes_px=SIZES).problems]
    assert len(found) == len({problem.got for problem in found}) == len(wrong)
    assert len({problem.message for problem in found}) == 3
    assert [problem.got for problem in found[:3]] == [
        f"{size} where it is 640×480 now" for size in ("320×480", "322×480", "640×1088")
    ]


def test_a_point_dragged_just_over_the_edge_is_moved_to_it() -> None:
    decoded = decode([region(value={"x": -0.3, "y": 100.4})], binding())
    np.testing.assert_allclose(decoded.poses[0].xy_px[0, 0], [-0.5, 479.5])


def test_other_controls_and_relations_are_left_alone() -> None:
    others = [
        {"type": "relation", "from_id": "a", "to_id": "b"},
        {"type": "textarea", "from_name": "note", "to_name": "A", "value": {"text": ["hm"]}},
        {"type": "vectorlabels", "from_name": "limbs", "to_name": "A", "value": {"vertices": []}},
    ]
    assert decode([region(), *others], binding()).problems == ()


def test_a_point_with_a_choice_that_nobody_knows_waits() -> None:
    choice = {"id": "abc", "type": "choices", "from_name": "vis_A", "value": {"choices": ["blurred"]}}
    decoded = decode([region(), choice, region(id="b", value={"keypointlabels": ["left hand"]})], binding())
    assert decoded.poses[0].state[0].tolist() == [PointState.UNLABELLED, PointState.VISIBLE, PointState.UNLABELLED]
    assert "got 'blurred'" in words(decoded)


def test_both_keypoints_of_a_point_with_two_labels_lie_there_and_of_several_choices_the_one_that_hides_most_counts() -> None:
    point = region(value={"keypointlabels": ["left hand", "head"]})
    choice = {"id": "abc", "type": "choices", "from_name": "vis_A", "value": {"choices": ["occluded", "visible"]}}
    decoded = decode([point, choice], binding())
    assert decoded.problems == ()
    assert decoded.poses[0].state[0].tolist() == [PointState.OCCLUDED, PointState.OCCLUDED, PointState.UNLABELLED]
    np.testing.assert_array_equal(decoded.poses[0].xy_px[0, 0], decoded.poses[0].xy_px[0, 1])


@pytest.mark.parametrize("identity", ["abc", None, 7])
def test_a_second_label_that_nobody_knows_is_not_read_as_visible(identity: object) -> None:
    point = region(id=identity, value={"keypointlabels": ["head", "verdeckt"]})
    decoded = decode([point, region(id="b", value={"keypointlabels": ["left hand"]})], binding())
    assert decoded.poses[0].state[0].tolist() == [PointState.UNLABELLED, PointState.VISIBLE, PointState.UNLABELLED]
    assert "got 'verdeckt'" in words(decoded)


def test_a_task_with_one_camera_picture() -> None:
    bound = bind(build_label_config(SKELETON, ["image"]), SKELETON, views=["left", "right"]).for_view("right")
    shown = pose(3, views=("A",))
    regions = encode({0: shown}, bound, {"right": SIZES["A"]}, GENERATION)
    assert {r["to_name"] for r in regions} == {"image"}
    same(decode(submitted(regions), bound).poses[0], shown)


# --- nothing raises -------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.builds(lambda: 10**400)
junk = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3))
names = st.sampled_from(["kp_A", "kp_B", "vis_A", "box_A", "box_B", "else"])


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A plausible region with some fields replaced by anything."""
    whole: dict[str, Any] = region(
        id=draw(st.sampled_from(["a", "b", "px:1:0:0:b", "px:1:0:0:0", "px:1:9:9:9"])),
        type=draw(st.sampled_from(["keypointlabels", "choices", "rectanglelabels", "relation"])),
        from_name=draw(names),
        parentID=draw(st.sampled_from([None, "a", "b", "px:1:0:0:b"])),
        value={"height": 10.0, "choices": ["absent"], "rectanglelabels": ["subject"], "x": draw(st.floats(-5, 110))},
    )
    for key in draw(st.lists(st.sampled_from(sorted(whole)), max_size=2)):
        whole[key] = draw(junk)
    if isinstance(whole["value"], dict):
        for key in draw(st.lists(st.sampled_from(sorted(region()["value"])), max_size=2)):
            whole["value"][key] = draw(junk)
    return whole


@settings(deadline=None, max_examples=300)
@given(junk | st.lists(damaged() | junk, max_size=6), st.booleans())
def test_nothing_that_arrives_raises(payload: object, sizes_known: bool) -> None:
    decoded = decode(payload, binding(boxes=True), sizes_px=SIZES if sizes_known else None)
    for subject, found in decoded.poses.items():
        assert subject >= 0
        present = np.isin(found.state, [PointState.VISIBLE, PointState.OCCLUDED])
        np.testing.assert_array_equal(found.placed, present)  # coordinates where, and only where, there is a point
        np.testing.assert_array_equal(found.provenance == Provenance.NONE, found.state == PointState.UNLABELLED)


def box_at(number: int, **changes: Any) -> dict[str, Any]:
    value = {"x": 1.0, "y": 1.0, "width": 90.0, "height": 90.0, "rectanglelabels": ["subject"]}
    plain = region(id=f"b{number}", type="rectanglelabels", from_name="box_A", **changes)
    return {**plain, "value": value}


@pytest.mark.parametrize(
    ("regions", "words_of_it"),
    [
        ([region(id=f"p{i}") for i in range(10_001)], "at most 10,000 regions"),
        ([box_at(i) for i in range(2001)], "at most 2,000 boxes"),
        ([region(id=f"px:1:0:{i}:0") for i in range(501)], "at most 500 subjects"),
    ],
    ids=["regions", "boxes", "subjects"],
)
def test_more_than_anybody_draws_is_not_used_and_said(regions: list[dict[str, Any]], words_of_it: str) -> None:
    decoded = decode(regions, binding(boxes=True))
    assert words_of_it in words(decoded)
    assert max(len(decoded.poses), len(decoded.boxes_px)) <= 500


def test_a_free_number_is_taken_before_one_that_an_id_names() -> None:
    boxes = [region_decode._Box(name, 0, (0.0, 0.0, 1.0, 1.0)) for name in ("x", "px:1:0:1:b", "y", "px:1:0:0:b", "z")]
    assert region_decode._number_boxes(boxes) == {0: 2, 1: 1, 2: 3, 3: 0, 4: 4}
