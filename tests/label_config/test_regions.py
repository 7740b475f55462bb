import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.labelling.binding import Binding, bind
from label_config.labelling.build_xml import build_label_config
from label_config.labelling.region_ids import RegionId
from label_config.labelling.regions import decode, encode, to_percent, to_px
from label_config.values import BadInputError, PointState, Pose2D, Provenance
from label_config.values.skeleton import Skeleton

SKELETON = Skeleton("s", ("head", "left hand", "right hand"), pairs=((1, 2),))
VIEWS = ("A", "B")
SIZES = {"A": (640, 480), "B": (301, 977)}
GENERATION = 12


def binding(*, views: tuple[str, ...] = VIEWS, visibility: bool = True, boxes: bool = False) -> Binding:
    return bind(build_label_config(SKELETON, views, visibility=visibility, boxes=boxes), SKELETON, views=views)


def pose(seed: int = 0, views: tuple[str, ...] = VIEWS) -> Pose2D:
    """Random points all over the pictures, with confidences, nothing missing."""
    rng = np.random.default_rng(seed)
    sizes = np.array([SIZES[view] for view in views], dtype=np.float64)
    empty = Pose2D.empty(len(views), len(SKELETON))
    return Pose2D(
        xy_px=rng.uniform(0, 1, (len(views), len(SKELETON), 2)) * sizes[:, None] - 0.5,
        confidence=rng.uniform(0, 1, (len(views), len(SKELETON))),
        state=empty.state + PointState.VISIBLE,
        provenance=empty.provenance + Provenance.PREDICTED,
    )


def submitted(regions: list[dict[str, Any]], origin: str = "prediction") -> list[dict[str, Any]]:
    """The regions as Label Studio returns them: through JSON, with an origin."""
    return [{**region, "origin": origin} for region in json.loads(json.dumps(regions))]


def same(a: Pose2D, b: Pose2D) -> None:
    np.testing.assert_allclose(a.xy_px, b.xy_px, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(a.state, b.state)


def region(**changes: Any) -> dict[str, Any]:
    plain = {
        "id": "abc",
        "type": "keypointlabels",
        "from_name": "kp_A",
        "to_name": "A",
        "original_width": 640,
        "original_height": 480,
        "image_rotation": 0,
        "origin": "manual",
        "value": {"x": 50.0, "y": 25.0, "width": 0.8, "keypointlabels": ["head"]},
    }
    value = {**plain["value"], **changes.pop("value", {})}  # type: ignore[dict-item]
    return {**plain, "value": value, **changes}


def words(decoded: Any) -> str:
    return "\n".join(f"{p.severity}: {p.text}" for p in decoded.problems)


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


# --- what people do -------------------------------------------------------------------------------------------------


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
    assert (decoded.poses[0].placed.sum(), decoded.unsized, decoded.problems) == (1, {"A"}, ())
    later = decode([unsized, good], binding(), sizes_px={"A": (640, 480)})
    assert (later.poses[0].placed.sum(), later.unsized) == (2, frozenset())
    np.testing.assert_allclose(later.poses[0].xy_px[0, 0], [319.5, 119.5])


def test_known_sizes_stand_in_for_missing_ones_and_win_over_other_ones() -> None:
    missing = decode([region(original_width=None)], binding(), sizes_px=SIZES)
    assert missing.problems == ()
    np.testing.assert_allclose(missing.poses[0].xy_px[0, 0], [319.5, 119.5])
    other = decode([region(original_width=320, original_height=240)], binding(), sizes_px=SIZES)
    np.testing.assert_allclose(other.poses[0].xy_px[0, 0], [319.5, 119.5])
    assert words(other).endswith("got 320×240 where it is 640×480 now")


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
