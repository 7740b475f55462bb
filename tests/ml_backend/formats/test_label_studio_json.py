"""Label Studio's JSON export: who said what about which picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from label_config.values import BadInputError
from ml_backend.formats.label_studio import read_label_studio


def point(label: str, x: float, *, picture: str = "img", name: str = "r") -> dict[str, Any]:
    return {
        "id": name + label,
        "type": "keypointlabels",
        "from_name": "kp",
        "to_name": picture,
        "original_width": 200,
        "original_height": 100,
        "value": {"x": x, "y": 50, "width": 1, "keypointlabels": [label]},
    }


def annotation(who: Any, *result: dict[str, Any], when: str = "2026-01-01", **more: Any) -> dict[str, Any]:
    return {"completed_by": who, "updated_at": when, "result": list(result), **more}


def write(folder: Path, tasks: Any) -> Path:
    (folder / "t.json").write_text(json.dumps(tasks))
    return folder / "t.json"


def test_each_person_s_newest_annotation_counts(tmp_path: Path) -> None:
    zoe, max_ = {"id": 1, "email": "zoe@lab"}, {"id": 2, "email": "max@lab"}
    polygon = {"id": "p", "type": "polygonlabels", "from_name": "po", "to_name": "img", "value": {"points": []}}
    task = {
        "id": 5,
        "data": {"img": "/data/upload/3/run/i7.png"},
        "predictions": [{"result": []}],
        "annotations": [
            annotation(zoe, point("nose", 10.25), when="2026-01-02"),
            annotation(zoe, point("nose", 90), when="2026-01-01"),
            annotation(max_, point("nose", 20), polygon),
            annotation(max_, point("nose", 30), when="2026-01-03", was_cancelled=True),
        ],
    }
    found = read_label_studio(write(tmp_path, [task]))
    assert {label.people[0]: label.xy_px[0].tolist() for label in found.labels} == {
        "zoe@lab": [20, 49.5],
        "max@lab": [39.5, 49.5],
    }
    assert {label.image.source for label in found.labels} == {"/data/upload/3/run/i7.png"}
    assert found.notes == (
        "1 skipped annotations are left out",
        "1 predictions in the file are not labels and are left out",
        "regions of other kinds are left out: polygonlabels",
        "annotations of 2 people",
    )


def test_choices_on_a_point_are_its_state(tmp_path: Path) -> None:
    choice = {"id": "rear", "type": "choices", "from_name": "vis", "to_name": "img", "value": {"choices": ["Occluded"]}}
    task = {"id": 1, "data": {"img": "a/1.png"}, "annotations": [annotation(1, point("nose", 10), point("ear", 20), choice)]}
    (label,) = read_label_studio(write(tmp_path, [task])).labels
    assert label.state.tolist() == [1, 2]


def test_words_of_the_project_are_understood(tmp_path: Path) -> None:
    """Numbers and words of other languages mean what `visibility` of parallax.yaml says; others leave the point out."""

    def choice(label: str, word: str, control: str = "sichtbar") -> dict[str, Any]:
        return {"id": "r" + label, "type": "choices", "from_name": control, "to_name": "img", "value": {"choices": [word]}}

    points = [point(label, 10) for label in ("nose", "ear", "tail", "paw")]
    said = [choice("nose", "0"), choice("ear", "verdeckt"), choice("tail", "1"), choice("ear", "unsure", "how_sure")]
    path = write(tmp_path, [{"id": 1, "data": {"img": "a/1.png"}, "annotations": [annotation(1, *points, *said)]}])
    found = read_label_studio(path, {"0": "visible", "verdeckt": "occluded"})
    assert found.labels[0].state.tolist() == [1, 2, 0, 1]
    assert any("<Choices name='how_sure'> is not read" in note for note in found.notes)
    assert any("not known for '1'" in note for note in found.notes)


def test_a_second_label_of_a_point_says_whether_it_can_be_seen(tmp_path: Path) -> None:
    hidden = point("nose", 10)
    hidden["value"]["keypointlabels"] = ["nose", "occluded"]
    strange = point("tail", 30)
    strange["value"]["keypointlabels"] = ["tail", "2"]
    path = write(
        tmp_path, [{"id": 1, "data": {"img": "a/1.png"}, "annotations": [annotation(1, hidden, point("ear", 20), strange)]}]
    )
    found = read_label_studio(path, {"2": "occluded"})
    assert found.skeleton.keypoints == ("nose", "ear", "tail")
    assert found.labels[0].state.tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"data": 1}, "expected Label Studio's JSON export: a list of tasks"),
        ([{"data": {"img": "a.png"}, "annotations": []}], "expected annotations with keypoint labels, found none"),
        (
            [{"id": 4, "data": {"a": "1/1.png", "b": "2/2.png"}, "annotations": [annotation(1, point("nose", 10))]}],
            "task 4: expected the address of picture 'img' in its data under that name, got a, b",
        ),
        ([{"data": [], "annotations": [annotation(1, point("n", 1))]}], "one of its values is of another kind"),
    ],
)
def test_what_is_no_export_is_refused(tasks: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message):
        read_label_studio(write(tmp_path, tasks))
