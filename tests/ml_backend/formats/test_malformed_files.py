"""Malformed files: the message names the file, the line or object, and what was expected."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.formats.coco import read_coco
from ml_backend.formats.dlc import read_dlc, read_dlc_predictions
from ml_backend.formats.lightning_pose import read_lightning_pose
from ml_backend.formats.yolo import read_yolo

HEADER = "scorer,me,me,me,me\nbodyparts,a,a,b,b\ncoords,x,y,x,y\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"c\.csv:1: expected header rows scorer, bodyparts, coords"),
        ("a,b\n1,2\n", r"c\.csv:1: expected header rows"),
        ("scorer,me\nbodyparts,a\n", r"missing: coords"),
        ("scorer\nbodyparts\ncoords\n", "names no keypoint"),
        ("scorer,me,me\nbodyparts,a\ncoords,x,y\n", "header row 'bodyparts' has 2 cells, expected 3"),
        ("scorer,me,me,me,me\nbodyparts,a,a,a,a\ncoords,x,y,x,y\n", "column 'a x' appears twice"),
        (HEADER + "i1.png,1,2,3,4\ni2.png,1,2,3\n", r"c\.csv:5: keypoint 'b' has only one of x and y"),
        (HEADER + "i1.png,1,2,3,4,5\n", r"c\.csv:4: expected 5 cells as in the header, got 6"),
        (HEADER + "i1.png,1,2,3,x\n", r"c\.csv:4: column 5: expected a number or nothing, got 'x'"),
        (HEADER + "i1.png,1,2,3,\n", r"c\.csv:4: keypoint 'b' has only one of x and y"),
        ("scorer,m,m,m\nbodyparts,a,a,a\ncoords,x,y,likelihood\n0,1,2,0.5\n", "predictions, not labels"),
    ],
)
def test_dlc(text: Any, message: Any, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_dlc(tmp_path / "c.csv")


def test_dlc_file_that_is_missing_or_binary(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"none\.csv: cannot be read"):
        read_dlc(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(BadInputError, match=r"b\.csv: cannot be read"):
        read_dlc(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "0,1,2,3,4\n", "expected predictions with coords x, y, likelihood, got x, y"),
        ("scorer,m,m,m\nbodyparts,a,a,a\ncoords,x,y,likelihood\nimg0,1,2,0.5\n", r"p\.csv:4: expected a frame number"),
        ("scorer,m,m,m\nindividuals,i,i,j\nbodyparts,a,a,a\ncoords,x,y,likelihood\n0,1,2,0.5\n", "one animal, got i, j"),
    ],
)
def test_predictions(text: Any, message: Any, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_dlc_predictions(tmp_path / "p.csv")


def test_dlc_of_newer_versions_and_windows_paths(tmp_path: Path) -> None:
    three = "scorer,,,me,me\nbodyparts,,,a,a\ncoords,,,x,y\nlabeled-data,run,img03.png,1.5,2\nlabeled-data,run,img04.png,,\n"
    (tmp_path / "c.csv").write_text(three)
    got = read_dlc(tmp_path / "c.csv")
    assert [item.image.source for item in got.labels] == ["labeled-data/run/img03.png"]
    assert got.notes == ("1 of 2 pictures have no point and are left out",)
    assert str(got.labels[0].key) == "run/000003"
    (tmp_path / "w.csv").write_text(HEADER + "labeled-data\\run\\img03.png,1,2,3,4\n")
    assert read_dlc(tmp_path / "w.csv").labels[0].image.source == "labeled-data/run/img03.png"


VISIBLE = "scorer,m,m,m\nbodyparts,a,a,a\ncoords,x,y,visible\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VISIBLE + "i.png,1,2,3\n", r"l\.csv:4: keypoint 'a': visible must be 0, 1 or 2.*got 3"),
        (VISIBLE + "i.png,,,2\n", "2 needs coordinates"),
        ("scorer,m,m,m\nbodyparts,a,a,a\ncoords,x,y,likelihood\ni.png,1,2,0.5\n", "expected hand labels of one subject"),
    ],
)
def test_lightning_pose(text: Any, message: Any, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_lightning_pose({None: tmp_path / "l.csv"})


def test_lightning_pose_views_must_correspond(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(VISIBLE + "i.png,1,2,2\n")
    (tmp_path / "b.csv").write_text(VISIBLE + "i.png,1,2,2\nj.png,1,2,2\n")
    with pytest.raises(BadInputError, match=r"b\.csv: its keypoints or number of rows differ"):
        read_lightning_pose({"a": tmp_path / "a.csv", "b": tmp_path / "b.csv"})
    with pytest.raises(BadInputError, match="at least one CSV"):
        read_lightning_pose({})


def coco(**change: Any) -> Any:
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": 9, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2]}],
        "categories": [{"id": 1, "name": "mouse", "keypoints": ["a"]}],
    }
    return json.dumps({**content, **change})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [],\n "annotations": ]', r"c\.json:2: no JSON"),
        ("[]", "expected a COCO object with a list 'images'"),
        (coco(categories=[]), "expected one category with keypoints, got: none"),
        (
            coco(categories=[{"id": 1, "name": "x", "keypoints": ["a"]}, {"id": 2, "name": "y", "keypoints": ["a"]}]),
            "got: 'x', 'y'",
        ),
        (coco(categories=[{"id": 1, "name": "x", "keypoints": ["a"], "skeleton": [[1, 2]]}]), "points outside 1..1"),
        (coco(categories=[{"id": 1, "name": "x", "keypoints": ["a", "a"]}]), r"c\.json: .*must be unique"),
        (coco(annotations=[{"id": 9, "category_id": 1}]), "annotation 9: field 'image_id' is missing"),
        (coco(annotations=[{"id": 9, "image_id": 7, "category_id": 1}]), "annotation 9: there is no image 7"),
        (coco(annotations=[{"id": 9, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 3]}]), "annotation 9: visibility"),
        (coco(annotations=[{"id": 9, "image_id": 1, "category_id": 1, "keypoints": ["x", 2, 2]}]), "annotation 9: expected"),
    ],
)
def test_coco(text: Any, message: Any, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_coco(tmp_path / "c.json")


def test_coco_category_by_name(tmp_path: Path) -> None:
    both = [{"id": 1, "name": "x", "keypoints": ["a"]}, {"id": 2, "name": "y", "keypoints": ["a", "b"]}]
    (tmp_path / "c.json").write_text(coco(categories=both))
    assert len(read_coco(tmp_path / "c.json", category="x").labels) == 1
    assert read_coco(tmp_path / "c.json", category="y").labels == ()
    with pytest.raises(BadInputError, match="called 'z'"):
        read_coco(tmp_path / "c.json", category="z")


@pytest.mark.parametrize(
    ("about", "line", "message"),
    [
        ("kpt_shape: [1, 3]\n", "0 .5 .5 .1 .1 .5 .5", r"a\.txt:1: expected 8 numbers, got 7"),
        ("kpt_shape: [1, 3]\n", "\n0 .5 .5 .1 .1 .5 .5 x", r"a\.txt:2: expected numbers"),
        ("kpt_shape: [1, 3]\n", "0 .5 .5 .1 .1 .5 nan 2", r"a\.txt:1: expected finite numbers"),
        ("kpt_shape: [1, 3]\n", "0 .5 .5 .1 .1 .5 .5 7", "visibility must be 0, 1 or 2"),
        ("kpt_shape: 3\n", "", r"data\.yaml: expected kpt_shape"),
        ("kpt_shape: [1, 3]\nkpt_names: {0: [a, b]}\n", "", "kpt_names has 2 names, kpt_shape says 1"),
        ("kpt_shape: [1, 3]\nnames: {0: a, 1: b}\n", "", "expected one class, got 2"),
        ("{", "", r"data\.yaml: not valid YAML"),
    ],
)
def test_yolo(about: Any, line: Any, message: Any, tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((10, 20, 3), np.uint8))
    (tmp_path / "data.yaml").write_text(about)
    (tmp_path / "labels" / "a.txt").write_text(line)
    with pytest.raises(BadInputError, match=message):
        read_yolo(tmp_path)


def test_yolo_picture_that_cannot_be_read(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .1 .1 .5 .5 2")
    (tmp_path / "data.yaml").write_text("kpt_shape: [1, 3]\n")
    with pytest.raises(BadInputError, match=r"a\.png: cannot be read as a picture"):
        read_yolo(tmp_path)


def test_yolo_without_visibility_takes_zero_as_missing(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((10, 20, 3), np.uint8))
    (tmp_path / "data.yaml").write_text("kpt_shape: [2, 2]\n")
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .1 .1 .5 .5 0 0")
    (item,) = read_yolo(tmp_path).labels
    assert item.xy_px[0].tolist() == [10, 5]
    assert item.state.tolist() == [1, 0]
