"""Labelling configs as other teams write them: nested task data, several controls for a picture, visibility in any words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_config.labelling.binding import Binding, bind
from label_config.labelling.regions import decode, encode
from label_config.settings.spec import load_spec
from label_config.values import BadInputError, PointState, Pose2D, Provenance
from label_config.values.data_path import nested, value_at
from label_config.values.skeleton import Skeleton

MOUSE = Skeleton("mouse", ("nose", "left_ear", "right_ear"))
SIZES = {"img": (200, 100)}
WAITS, VISIBLE, OCCLUDED, ABSENT = PointState.UNLABELLED, PointState.VISIBLE, PointState.OCCLUDED, PointState.ABSENT


def points(name: str, *labels: str, more: str = "") -> str:
    """A <KeyPointLabels> on the picture; a label is ``value`` or ``value=alias``."""
    tags = ""
    for label in labels:
        value, _, alias = label.partition("=")
        tags += f'<Label value="{value}"' + (f' alias="{alias}"/>' if alias else "/>")
    return f'<KeyPointLabels name="{name}" toName="img" {more}>{tags}</KeyPointLabels>'


def choices(name: str, *words: str, more: str = "") -> str:
    tags = "".join(f'<Choice value="{word.partition("=")[0]}" alias="{word.partition("=")[2] or word}"/>' for word in words)
    return f'<Choices name="{name}" toName="img" perRegion="true" {more}>{tags}</Choices>'


def config(*controls: str, value: str = "$image") -> str:
    return f'<View><Image name="img" value="{value}"/>{"".join(controls)}</View>'


def region(name: str, control: str, label: str | list[str], kind: str = "keypointlabels") -> dict[str, Any]:
    said = [label] if isinstance(label, str) else label
    return {
        "id": name,
        "type": kind,
        "from_name": control,
        "to_name": "img",
        "original_width": 200,
        "original_height": 100,
        "origin": "manual",
        "value": {"x": 50.0, "y": 50.0, "width": 0.5, kind: said},
    }


def states(result: list[dict[str, Any]], binding: Binding) -> list[int]:
    decoded = decode(result, binding)
    pose = decoded.poses.get(0, Pose2D.empty(1, len(binding.skeleton)))
    return [int(state) for state in pose.state[0]]


def said(problems: Any) -> str:
    return "\n".join(problem.text for problem in problems)


def refused_by_label_studio(xml: str, result: list[dict[str, Any]]) -> list[str]:
    """Its SDK holds the very checks by which an import drops predictions."""
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface(xml)
    prediction = {"result": result, "score": 0.5, "model_version": "px"}
    found: list[str] = interface.validate_prediction(prediction, return_errors=True)
    return found


def shown(*of: PointState) -> Pose2D:
    full = np.ones((1, len(of)), dtype=np.int64)
    state = np.array([of], dtype=np.int64)
    return Pose2D(np.full((1, len(of), 2), 40.0), np.full(full.shape, 0.9), state, full * Provenance.PREDICTED)


# --- nested task data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["image", "files.image", "images[0]", "images[1].url", "frames.cams[2]"])
def test_a_picture_may_stand_anywhere_in_the_tasks_data(path: str) -> None:
    binding = bind(config(points("kp", *MOUSE.keypoints), value=f"${path}"), MOUSE)
    assert binding.views[0].data_key == path
    assert binding.problems == ()
    assert value_at(nested({path: "/data/a.png"}), path) == "/data/a.png"


names = st.sampled_from(["a", "b", "c_d"])
paths = st.builds(
    lambda first, more: first + "".join(more),
    names,
    st.lists(names.map(lambda name: f".{name}") | st.integers(0, 3).map(lambda n: f"[{n}]"), max_size=3),
)


def _steps(path: str) -> list[str]:
    return path.replace("[", "\0[").replace(".", "\0.").split("\0")


def _compatible(one: list[str], other: list[str]) -> bool:
    """Neither leads through the other, and no place is a list to one and a mapping to the other."""
    parts = next(((a, b) for a, b in zip(one, other, strict=False) if a != b), None)
    return parts is not None and parts[0].startswith("[") == parts[1].startswith("[")


def _side_by_side(drawn: list[str]) -> list[str]:
    """The paths that fit into one task, the first of two that do not."""
    kept: list[str] = []
    for path in drawn:
        if all(_compatible(_steps(path), _steps(other)) for other in kept):
            kept.append(path)
    return kept


@given(st.lists(paths, min_size=1, max_size=4, unique=True).map(_side_by_side))
def test_what_is_written_at_paths_is_read_there(fitting: list[str]) -> None:
    values = {path: f"value of {path}" for path in fitting}
    data = nested(values)
    assert {path: value_at(data, path) for path in fitting} == values


def test_a_repeater_is_refused_by_name_with_the_tags_to_write() -> None:
    """Label Studio 1.23.2 creates no prediction for its tags: an import answers "created: 0"."""
    picture = '<Image name="p_{{idx}}" value="$images[{{idx}}].url"/>'
    inside = picture + points("k_{{idx}}", "nose").replace('"img"', '"p_{{idx}}"')
    xml = f'<View><Repeater on="$images" indexFlag="{{{{idx}}}}">{inside}</Repeater></View>'
    with pytest.raises(BadInputError) as caught:
        bind(xml, MOUSE)
    assert "<Repeater on='$images'> cannot be used" in str(caught.value)
    assert '<Image name="p_0" value="$images[0].url" …> <KeyPointLabels name="k_0" toName="p_0" …>' in str(caught.value)
    assert "expected value=" not in str(caught.value), "said once, not again for the tags in it"
    written = inside.replace("{{idx}}", "0")
    assert bind(f"<View>{written}</View>", MOUSE).views[0].data_key == "images[0].url"


# --- several controls, aliases, two labels ------------------------------------------------------------------------


def test_all_controls_of_a_picture_are_bound_and_written_back() -> None:
    xml = config(points("head", "nose"), points("ears", "left_ear", "right_ear"))
    binding = bind(xml, MOUSE)
    assert binding.problems == ()
    assert states([region("a", "head", "nose"), region("b", "ears", "right_ear")], binding) == [VISIBLE, WAITS, VISIBLE]
    sent = encode({0: shown(VISIBLE, VISIBLE, VISIBLE)}, binding, SIZES, 3)
    assert [(r["from_name"], r["value"]["keypointlabels"]) for r in sent] == [
        ("head", ["nose"]), ("ears", ["left_ear"]), ("ears", ["right_ear"])
    ]  # fmt: skip
    assert refused_by_label_studio(xml, sent) == []


def test_one_label_in_two_controls_is_two_things_until_the_file_names_both() -> None:
    xml = config(points("left", "ear"), points("right", "ear"), points("kp", "nose"))
    unsure = bind(xml, Skeleton("ears", ("nose", "ear")))
    assert "label 'ear' is offered by two controls, 'left' and 'right'" in said(unsure.problems)
    assert states([region("a", "right", "ear")], unsure) == [WAITS, WAITS]
    assert "got 'ear'" in said(decode([region("a", "right", "ear")], unsure).problems)
    aliases = {"left/ear": "left_ear", "right/ear": "right_ear"}
    binding = bind(xml, MOUSE, aliases=aliases)
    assert binding.problems == ()
    assert states([region("a", "right", "ear")], binding) == [WAITS, WAITS, VISIBLE]
    assert refused_by_label_studio(xml, encode({0: shown(VISIBLE, VISIBLE, VISIBLE)}, binding, SIZES, 3)) == []
    assert bind(xml, None, aliases=aliases).skeleton.keypoints == ("left_ear", "right_ear", "nose")


def test_an_alias_and_the_value_it_stands_for_are_one_label() -> None:
    """The editor writes the alias, converters the value; Label Studio takes predictions with the alias only."""
    xml = config(points("kp", "Nasenspitze=nose", "linkes Ohr=left_ear", "right_ear"))
    binding = bind(xml, MOUSE)
    assert states([region("a", "kp", "Nasenspitze"), region("b", "kp", "left_ear")], binding) == [VISIBLE, VISIBLE, WAITS]
    sent = encode({0: shown(VISIBLE, VISIBLE, VISIBLE)}, binding, SIZES, 3)
    assert [r["value"]["keypointlabels"] for r in sent] == [["nose"], ["left_ear"], ["right_ear"]]
    assert refused_by_label_studio(xml, sent) == []
    coded = bind(config(points("kp", "nose=k0", "left_ear=k1", "right_ear=k2")), MOUSE)
    assert states([region("a", "kp", "k1")], coded) == [WAITS, VISIBLE, WAITS]


def test_two_labels_on_one_point() -> None:
    xml = config(points("kp", "nose", "left_ear", "right_ear", "occluded", more='choice="multiple"'))
    binding = bind(xml, None)
    assert binding.skeleton.keypoints == MOUSE.keypoints
    assert states([region("a", "kp", ["nose", "left_ear"])], binding) == [VISIBLE, VISIBLE, WAITS]
    assert states([region("a", "kp", ["nose", "occluded"])], binding) == [OCCLUDED, WAITS, WAITS]
    lone = decode([region("a", "kp", "occluded")], binding)
    assert "no label but one that says whether they can be seen" in said(lone.problems)
    sent = encode({0: shown(OCCLUDED, VISIBLE, ABSENT)}, binding, SIZES, 3)
    assert [r["value"]["keypointlabels"] for r in sent] == [["nose", "occluded"], ["left_ear"]]
    assert refused_by_label_studio(xml, sent) == []


def test_a_second_label_of_another_control_lies_on_the_same_point() -> None:
    xml = config(points("kp", *MOUSE.keypoints), points("seen", "verdeckt"))
    assert "'verdeckt'" in said(bind(xml, MOUSE).problems)
    binding = bind(xml, MOUSE, visibility={"verdeckt": "occluded"})
    both = [region("a", "kp", "nose"), region("a", "seen", "verdeckt")]
    assert states(both, binding) == [OCCLUDED, WAITS, WAITS]
    sent = encode({0: shown(OCCLUDED, VISIBLE, VISIBLE)}, binding, SIZES, 3)
    assert states(sent, binding) == [OCCLUDED, VISIBLE, VISIBLE]
    assert refused_by_label_studio(xml, sent) == []


# --- visibility in other words --------------------------------------------------------------------------------------

LABELLED = [region("a", "kp", "nose"), region("b", "kp", "left_ear"), region("c", "kp", "right_ear")]


def chosen(*words: str) -> list[dict[str, Any]]:
    return [*LABELLED, *(region(name, "vis", word, "choices") for name, word in zip("abc", words, strict=False))]


@pytest.mark.parametrize("words", [("0", "1", "2"), ("sichtbar", "verdeckt", "fehlt"), ("visible", "occluded", "so-so")])
def test_a_choice_that_nobody_knows_is_named_and_never_read_as_visible(words: tuple[str, str, str]) -> None:
    binding = bind(config(points("kp", *MOUSE.keypoints), choices("vis", *words)), MOUSE)
    assert f'"{words[2]}": …' in said(binding.problems)
    decoded = decode(chosen("", "", words[2])[:4] + chosen("", "", words[2])[5:], binding)
    assert decoded.poses[0].state[0, 2] == WAITS
    assert f"got {words[2]!r}" in said(decoded.problems)


def test_a_word_that_nobody_knows_weighs_more_than_one_that_hides() -> None:
    binding = bind(config(points("kp", *MOUSE.keypoints), choices("vis", "occluded", "so-so")), MOUSE)
    assert states([*LABELLED, region("a", "vis", ["occluded", "so-so"], "choices")], binding) == [WAITS, VISIBLE, VISIBLE]


def test_the_file_says_what_choices_mean() -> None:
    xml = config(points("kp", *MOUSE.keypoints), choices("vis", "nicht da=0", "verdeckt=1", "sichtbar=2"))
    binding = bind(xml, MOUSE, visibility={"0": "absent", "1": "occluded", "2": "visible"})
    assert binding.problems == ()
    assert states(chosen("2", "1", "0"), binding) == [VISIBLE, OCCLUDED, ABSENT]
    assert states(chosen("sichtbar", "verdeckt", "nicht da"), binding) == [VISIBLE, OCCLUDED, ABSENT]
    sent = encode({0: shown(VISIBLE, OCCLUDED, ABSENT)}, binding, SIZES, 3)
    assert [r["value"]["choices"] for r in sent if r["type"] == "choices"] == [["1"], ["0"]]
    assert refused_by_label_studio(xml, sent) == []
    by_value = bind(xml, MOUSE, visibility={"Nicht da": "unlabelled", "verdeckt": "occluded", "sichtbar": "visible"})
    assert states(chosen("2", "1", "0"), by_value) == [VISIBLE, OCCLUDED, WAITS]


def test_choices_of_something_else_do_not_hold_points_back() -> None:
    sure = choices("sure", "yes", "no")
    beside = bind(config(points("kp", *MOUSE.keypoints), choices("vis", "visible", "hidden"), sure), MOUSE)
    assert "<Choices name='sure'> is not read" in said(beside.problems)
    assert states([*LABELLED, region("a", "sure", "no", "choices")], beside) == [VISIBLE] * 3
    of_boxes = bind(config(points("kp", *MOUSE.keypoints), choices("sure", "yes", more='whenTagName="box"')), MOUSE)
    assert (of_boxes.problems, of_boxes.views[0].visibility) == ((), {})


def test_other_controls_of_each_point_are_named() -> None:
    rating = '<Rating name="seen" toName="img" perRegion="true"/>'
    assert "<Rating name='seen'> is not read" in said(bind(config(points("kp", *MOUSE.keypoints), rating), MOUSE).problems)


def test_visibility_in_parallax_yaml(tmp_path: Path) -> None:
    file = tmp_path / "parallax.yaml"
    file.write_text("visibility: {0: absent, 1: occluded, 'no': occluded}\n")
    assert load_spec(file).visibility == {"0": "absent", "1": "occluded", "no": "occluded"}
    file.write_text("visibility: {no: occluded}\n")
    with pytest.raises(BadInputError, match="write no, off or false in quotes"):
        load_spec(file)
    file.write_text("visibility: {0: gone}\n")
    with pytest.raises(BadInputError, match="'visible', 'occluded', 'absent' or 'unlabelled'"):
        load_spec(file)
