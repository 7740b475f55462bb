import json

import pytest

from label_config.labelling.binding import Binding, bind
from label_config.labelling.build_xml import build_label_config, safe_view_names
from label_config.settings.skeleton_files import load_skeleton
from label_config.values import BadInputError, PointState
from label_config.values.skeleton import Skeleton

MOUSE = Skeleton("mouse", ("nose", "left_ear", "right_ear", "tail"), pairs=((1, 2),))
LABELS = "".join(f'<Label value="{name}"/>' for name in MOUSE.keypoints)


def picture(name: str, labels: str = LABELS, extra: str = "") -> str:
    return (
        f'<Image name="{name}" value="${name}"/><KeyPointLabels name="kp{name}" toName="{name}">{labels}</KeyPointLabels>{extra}'
    )


def view(*parts: str) -> str:
    return f"<View>{''.join(parts)}</View>"


def lone(value: str, target: str) -> str:
    return view(f'<Image name="a" {value}/><KeyPointLabels name="k" toName="{target}">{LABELS}</KeyPointLabels>')


def messages(binding: Binding) -> str:
    return "\n".join(f"{problem.severity}: {problem.message}" for problem in binding.problems)


@pytest.mark.parametrize("names", [["A"], ["A", "B", "C", "D"], [f"cam {i}" for i in range(8)]])
@pytest.mark.parametrize("visibility", [True, False])
@pytest.mark.parametrize("boxes", [True, False])
def test_our_own_config_is_read_back_completely(names: list[str], visibility: bool, boxes: bool) -> None:
    skeleton = load_skeleton("coco17")
    binding = bind(build_label_config(skeleton, names, visibility=visibility, boxes=boxes), skeleton, views=names)
    assert binding.problems == ()
    assert binding.names == tuple(names)
    assert binding.skeleton == skeleton
    for bound, safe in zip(binding.views, safe_view_names(names).values(), strict=True):
        assert (bound.image, bound.data_key, bound.points) == (safe, safe, {f"kp_{safe}": skeleton.index})
        assert list(bound.visibility) == ([f"vis_{safe}"] if visibility else [])
        assert bound.box == (f"box_{safe}" if boxes else None)
        assert set(bound.word_of) == ({PointState.VISIBLE, PointState.OCCLUDED, PointState.ABSENT} if visibility else set())


def test_json_round_trip() -> None:
    xml = view(
        picture(
            "A",
            LABELS + '<Label value="paw"/>',
            '<Choices name="v" toName="A" perRegion="true"><Choice value="hidden"/></Choices>',
        )
    )
    binding = bind(xml, MOUSE)
    assert binding.problems
    assert Binding.from_json(json.loads(json.dumps(binding.to_json()))) == binding


def test_without_a_skeleton_one_is_drafted_from_the_labels() -> None:
    binding = bind(view(picture("A"), picture("B")), None)
    assert binding.skeleton.keypoints == MOUSE.keypoints
    assert binding.skeleton.pairs == ((1, 2),)
    assert binding.problems == ()


def test_views_set_names_and_order() -> None:
    binding = bind(view(picture("A"), picture("side_cam"), picture("C")), MOUSE, views=["side cam", "A"])
    assert [(v.view, v.image) for v in binding.views] == [("side cam", "side_cam"), ("A", "A")]
    assert "<Image name='C'> is not among the views" in messages(binding)


def test_a_view_may_be_named_by_its_data_key() -> None:
    xml = view(
        '<Image name="img1" value="$camA"/><KeyPointLabels name="k1" toName="img1">', LABELS, "</KeyPointLabels>", picture("B")
    )
    assert [(v.view, v.image) for v in bind(xml, MOUSE, views=["B", "camA"]).views] == [("B", "B"), ("camA", "img1")]


def test_a_view_without_a_picture_is_reported_and_the_rest_goes_on() -> None:
    binding = bind(view(picture("A"), picture("B")), MOUSE, views=["A", "X"])
    assert binding.names == ("A",)
    assert "error: view 'X' has no <Image>" in messages(binding)
    with pytest.raises(BadInputError, match="none of X, Y"):
        bind(view(picture("A"), picture("B")), MOUSE, views=["X", "Y"])


def test_a_single_picture_stands_for_any_view() -> None:
    binding = bind(view(picture("image")), MOUSE, views=["left", "right"])
    assert binding.names == ("image",)
    assert binding.problems == ()
    task = binding.for_view("right")
    assert (task.names, task.views[0].image) == (("right",), "image")
    assert bind(view(picture("image")), MOUSE, views=["only"]).names == ("only",)
    with pytest.raises(BadInputError, match="one picture"):
        bind(view(picture("A"), picture("B")), MOUSE).for_view("A")


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<View><Image name='a' value='$a'/></View>", "at least one <Image>"),
        ("<View><Text name='t' value='$t'/><Labels name='l' toName='t'/></View>", "at least one <Image>"),
        ("not xml", "plain XML"),
        ("", "plain XML"),
        (lone('valueList="$pictures"', 'a'), "valueList"),
        (lone('value="$a"', 'b'), "'b', which is no <Image>"),
        (lone('value="$x[one].y"', 'a'), "the place of one address in the task's data"),
        (view('<Image name="a" value="$a"/><KeyPointLabels name="k" toName="a" value="$labels"/>'), "from the task"),
        (view('<Image name="a" value="$a"/><KeyPointLabels name="k" toName="a"/>'), "has no <Label>"),
        (view(picture("a", '<Label value="x"/><Label value="y"/>')), "no label is a keypoint of the skeleton 'mouse'"),
        (lone('value="$a"', 'a,b'), "serves 2 pictures"),
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_used_says_why(xml: str, expected: str) -> None:
    with pytest.raises(BadInputError) as caught:
        bind(xml, MOUSE)
    assert expected in str(caught.value)


def test_entity_expansion_is_refused() -> None:
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    bomb = f'<!DOCTYPE x [<!ENTITY l0 "ha">{entities}]><View><Header value="&l9;"/></View>'
    with pytest.raises(BadInputError, match="without entity declarations"):
        bind(bomb, MOUSE)
    harmless = '<!DOCTYPE x [<!ENTITY e "ha">]><View><Header value="&e;"/></View>'
    with pytest.raises(BadInputError, match=r"EntitiesForbidden|DTDForbidden"):
        bind(harmless, MOUSE)
    external = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><View>&e;</View>'
    with pytest.raises(BadInputError, match="without entity declarations"):
        bind(external, MOUSE)


def test_one_unusable_control_does_not_spoil_the_others() -> None:
    both = f'<KeyPointLabels name="all" toName="A,B">{LABELS}</KeyPointLabels>'
    again = f'<KeyPointLabels name="more" toName="A">{LABELS}</KeyPointLabels>'
    binding = bind(view(picture("A"), picture("B"), both, again), MOUSE)
    assert binding.names == ("A", "B")
    assert [list(v.points) for v in binding.views] == [["kpA", "more"], ["kpB"]]
    text = messages(binding)
    assert "error: <KeyPointLabels name='all'> serves 2 pictures" in text
    assert "label 'nose' is offered by two controls, 'kpA' and 'more'" in text


def test_tags_with_one_name_are_reported() -> None:
    xml = view(picture("A"), '<Choices name="A" toName="A"><Choice value="x"/></Choices>')
    assert "the name 'A' is given to 2 tags" in messages(bind(xml, MOUSE))


def test_vectors_are_recognised_and_reported() -> None:
    xml = view(picture("A"), '<VectorLabels name="limbs" toName="A" skeleton="true"><Label value="x"/></VectorLabels>')
    assert "warning: <VectorLabels name='limbs'> is not used yet" in messages(bind(xml, MOUSE))


def test_labels_and_keypoints_that_do_not_match_are_named() -> None:
    binding = bind(
        view(picture("A", '<Label value="nose"/><Label value="Left_Ear"/><Label value="tial"/><Label value="nose"/>')), MOUSE
    )
    assert binding.views[0].points == {"kpA": {"nose": 0, "Left_Ear": 1}}
    assert {index: label.word for index, label in binding.views[0].label_of.items()} == {0: "nose", 1: "Left_Ear"}
    text = messages(binding)
    assert "1 label is no keypoint of the skeleton 'mouse': 'tial' (nearest: 'tail'); points with it" in text
    assert "label 'nose' is given 2 times" in text
    assert {p.keypoint for p in binding.problems if "has no label" in p.message} == {"right_ear", "tail"}


def test_unknown_labels_are_counted_and_named_in_one_message() -> None:
    labels = '<Label value="nose"/><Label value="Whisker"/><Label value="tial"/><Label value="Pellet"/>'
    found = [problem.message for problem in bind(view(picture("A", labels)), MOUSE).problems if "no keypoint" in problem.message]
    assert len(found) == 1
    assert "3 labels are no keypoints of the skeleton 'mouse': 'Whisker', 'tial' (nearest: 'tail'), 'Pellet'" in found[0]


def test_aliases_rename_labels() -> None:
    labels = '<Label value="snout"/><Label value="ear L"/><Label value="ear R"/><Label value="tail"/>'
    binding = bind(view(picture("A", labels)), MOUSE, aliases={"snout": "nose", "ear L": "left_ear", "ear R": "right_ear"})
    assert binding.problems == ()
    assert binding.views[0].points == {"kpA": {"snout": 0, "ear L": 1, "ear R": 2, "tail": 3}}


def test_case_alone_is_not_guessed_when_it_is_ambiguous() -> None:
    skeleton = Skeleton("case", ("A", "a", "b"))
    assert bind(view(picture("p", '<Label value="a"/><Label value="B"/>')), skeleton).views[0].points["kpp"] == {"a": 1, "B": 2}
    two = bind(view(picture("p", '<Label value="TAIL"/><Label value="Tail"/><Label value="nose"/>')), MOUSE)
    assert two.views[0].points == {"kpp": {"nose": 0}}


def test_results_carry_the_alias_of_a_label() -> None:
    labels = '<Label value="Nose (tip)" alias="nose"/><Label value="tail"/>'
    bound = bind(view(picture("A", labels)), MOUSE).views[0]
    assert bound.points == {"kpA": {"Nose (tip)": 0, "nose": 0, "tail": 3}}  # files of converters may have the value
    assert bound.label_of[0].word == "nose"  # Label Studio drops predictions with the value


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ('<Choices name="v" toName="A" perRegion="true"><Choice value="Not visible"/><Choice value="Visible"/></Choices>',
         {"v": {"Not visible": PointState.OCCLUDED, "Visible": PointState.VISIBLE}}),
        ('<Choices name="v" toName="A" perRegion="true"><Choice value="Gone" alias="out_of_frame"/></Choices>',
         {"v": {"out_of_frame": PointState.ABSENT, "Gone": PointState.ABSENT}}),
        ('<Choices name="v" toName="A"><Choice value="occluded"/></Choices>', {}),  # about the picture, not about a point
        ('<Choices name="v" toName="B" perRegion="true"><Choice value="occluded"/></Choices>', {}),
        ('<Choices name="v" toName="A" perRegion="true"><Choice value="male"/><Choice value="female"/></Choices>',
         {"v": {}}),  # perhaps words of another language: points that carry one wait
    ],
)  # fmt: skip
def test_visibility_is_recognised_by_its_words(choices: str, expected: dict[str, dict[str, PointState]]) -> None:
    bound = bind(view(picture("A"), picture("B"), choices), MOUSE).views[0]
    assert bound.visibility == expected


def test_of_two_choices_with_one_meaning_the_first_is_written() -> None:
    choices = '<Choices name="v" toName="A" perRegion="true"><Choice value="hidden"/><Choice value="occluded"/></Choices>'
    bound = bind(view(picture("A"), choices), MOUSE).views[0]
    assert set(bound.visibility["v"]) == {"hidden", "occluded"}
    assert bound.word_of == {PointState.OCCLUDED: ("choices", "v", "hidden")}


def test_boxes_are_found_with_their_labels() -> None:
    xml = view(
        picture("A"), '<RectangleLabels name="r" toName="A"><Label value="mouse1"/><Label value="mouse2"/></RectangleLabels>'
    )
    bound = bind(xml, MOUSE).views[0]
    assert (bound.box, bound.box_labels) == ("r", ("mouse1", "mouse2"))


def test_cameras_may_offer_different_labels() -> None:
    binding = bind(view(picture("A"), picture("B", '<Label value="tail"/>')), MOUSE)
    assert [set(v.label_of) for v in binding.views] == [{0, 1, 2, 3}, {3}]
    assert {(p.view, p.keypoint) for p in binding.problems} == {("B", "nose"), ("B", "left_ear"), ("B", "right_ear")}


def test_choices_without_a_name_do_not_stop_the_reading() -> None:
    nameless = '<Choices toName="a" perRegion="true" whenTagName="kpa"><Choice value="hidden"/></Choices>'
    assert bind(view(picture("a", extra=nameless)), MOUSE).names == ("a",)
