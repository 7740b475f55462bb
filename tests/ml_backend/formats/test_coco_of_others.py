"""COCO files as other tools write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from label_config.values import BadInputError
from ml_backend.formats.coco import read_coco


def file(folder: Path, annotations: list[dict[str, Any]], **category: Any) -> Path:
    content = {
        "images": [{"id": i, "file_name": f"a\\b\\{i}.png", "width": 64, "height": 48} for i in (1, 2)],
        "annotations": [{"id": n, "image_id": 1, "category_id": 1, **a} for n, a in enumerate(annotations)],
        "categories": [{"id": 1, "name": "fly", "keypoints": ["a", "b"], **category}],
    }
    (folder / "c.json").write_text(json.dumps(content))
    return folder / "c.json"


@pytest.mark.parametrize("nothing", [[0, 0, 0], [None, None, 0], [float("nan"), float("nan"), 0], [None, None, None], [9, 9, 0]])
def test_points_that_are_not_labelled_may_say_so_in_many_ways(nothing: list[Any], tmp_path: Path) -> None:
    (label,) = read_coco(file(tmp_path, [{"keypoints": [1, 2, 2, *nothing]}])).labels
    assert label.state.tolist() == [1, 0]
    assert label.image.source == "a/b/1.png"


@pytest.mark.parametrize("empty", [{}, {"keypoints": None}, {"keypoints": []}, {"keypoints": [0] * 6}])
def test_annotations_without_a_labelled_keypoint_are_no_labels(empty: dict[str, Any], tmp_path: Path) -> None:
    found = read_coco(file(tmp_path, [empty, {"keypoints": [1, 2, 2, 3, 4, 1]}]))
    assert [label.subject for label in found.labels] == [0]
    assert found.notes == ("1 annotations without a labelled keypoint are left out",)


def test_subjects_keep_their_track_over_pictures(tmp_path: Path) -> None:
    seen = [1, 2, 2, 3, 4, 2]
    tracks = [(1, 7), (1, 9), (2, 9)]
    found = read_coco(file(tmp_path, [{"keypoints": seen, "image_id": image, "track_id": track} for image, track in tracks]))
    assert [(label.image.source, label.subject) for label in found.labels] == [
        ("a/b/1.png", 0),
        ("a/b/1.png", 1),
        ("a/b/2.png", 1),
    ]


def test_edges_that_count_from_zero(tmp_path: Path) -> None:
    found = read_coco(file(tmp_path, [], skeleton=[[0, 1]]))
    assert found.skeleton.limbs == ((0, 1),)
    assert found.notes == ("the skeleton's edges count from 0, where COCO counts from 1",)
    assert read_coco(file(tmp_path, [], skeleton=[[1, 2]])).notes == ()


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ([{"keypoints": [None, 2, 2, 0, 0, 0]}], "coordinates of placed points finite"),
        ([{"keypoints": {"a": 1}}], "expected 2 × 3 numbers"),
        ([{"keypoints": [1, 2, 2, 3, 4, 2], "bbox": "x"}], "expected a COCO object; one of its values is of another kind"),
    ],
)
def test_what_cannot_be_meant_is_refused(annotations: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message):
        read_coco(file(tmp_path, annotations))


def test_two_images_of_one_number_are_refused(tmp_path: Path) -> None:
    path = file(tmp_path, [])
    content = json.loads(path.read_text())
    content["images"][1]["id"] = 1
    path.write_text(json.dumps(content))
    with pytest.raises(BadInputError, match="two images have the id 1"):
        read_coco(path)
