"""Label files that other tools wrote, unchanged: their facts, and what is said about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from label_config.values import BadInputError, PointState
from ml_backend.formats.coco import read_coco
from ml_backend.formats.dlc import read_dlc
from ml_backend.formats.format_registry import detect_format, read_labels
from ml_backend.formats.label_records import LabelSet
from ml_backend.formats.names import LabelFormat
from tests.recorded_data import needed

pytestmark = pytest.mark.data


def foreign(name: str) -> Path:
    return needed(f"foreign/{name}")


def missing(found: LabelSet) -> int:
    """Coordinates without a number."""
    return int(sum(np.isnan(label.xy_px).sum() for label in found.labels))


_DANCE = "/home/talmolab/projects/sleap_hackathon/sleap/tests/data/videos/dance.mp4"
#: (file, format, labels, keypoints, first picture, index of a keypoint, its place there, words of every note)
FACTS = [
    ("deeplabcut/Reaching-Mackenzie/CollectedData_Mackenzie.csv", "dlc", 55, 5, "labeled-data/reachingvideo1/img005.png", 0,
     (185.251735, 610.362276), []),
    ("deeplabcut/Reaching-Mackenzie/CollectedData_Mackenzie.h5", "dlc", 55, 5, "labeled-data/reachingvideo1/img005.png", 0,
     (185.251735, 610.362276), []),
    ("deeplabcut/golden_mouse/CollectedData_shaokai.csv", "dlc", 20, 27, "labeled-data/golden_mouse/img0067.png", 1,
     (1250.027052, 471.621702), []),
    ("deeplabcut/golden_mouse/CollectedData_shaokai.h5", "dlc", 20, 27, "labeled-data/golden_mouse/img0067.png", 1,
     (1250.027052, 471.621702), []),
    ("deeplabcut/sleap_fixtures/dlc_testdata.csv", "dlc", 3, 3, "labeled-data/video/img000.png", 0, (0, 1),
     ["1 of 4 pictures have no point"]),
    ("deeplabcut/sleap_fixtures/dlc_testdata_v2.csv", "dlc", 3, 3, "labeled-data/video/img000.png", 0, (0, 1), ["1 of 4"]),
    ("deeplabcut/sleap_fixtures/madlc_testdata.csv", "dlc", 5, 3, "labeled-data/video/img000.png", 0, (0, 1),
     ["'Animal1' is subject 0, 'Animal2' is subject 1", "1 of 4"]),
    ("deeplabcut/sleap_fixtures/madlc_testdata_v2.csv", "dlc", 5, 3, "labeled-data/video/img000.png", 0, (0, 1),
     ["2 individuals", "1 of 4"]),
    ("deeplabcut/sleap_fixtures/maudlc_testdata_v2.csv", "dlc", 7, 5, "labeled-data/video/img000.png", 0, (0, 1),
     ["1 rows end early", "'single' is subject 2", "1 of 4"]),
    ("lightning-pose/toymouse_CollectedData_.csv", "dlc", 40, 17, "barObstacleScaling1/img1.png", 0, (77.25, 36.25), []),
    ("coco/test_coco.json", "coco", 12, 17, "000000000785.jpg", 0, (367, 81), ["2 annotations without a labelled keypoint"]),
    ("h36m/h36m_coco.json", "coco", 4, 17, "S1_Directions_1.54138969_000001.jpg", 0, (473.683563, 444.942413),
     ["count from 0", "1 was read as visible"]),
    ("posetrack18/annotations/test_posetrack18_val.json", "coco", 14, 17, "images/val/012834_mpii_test/000000.jpg", 0, (401, 530),
     ["1 was read as visible"]),
    ("ultralytics/data.yaml", "yolo", 4, 5, "train/images/image_001.jpg", 0, (288, 96), ["no kpt_names", "begin with #"]),
    ("sleap/minimal_instance.slp", "sleap", 2, 2, "tests/data/json_format_v1/centered_pair_low_quality.mp4", 0,
     (92.652208, 202.725978), []),
    ("sleap/minimal_instance.pkg.slp", "sleap", 2, 2, "tests/data/json_format_v1/centered_pair_low_quality.mp4", 0,
     (92.652208, 202.725978), []),
    ("sleap/small_robot_minimal.slp", "sleap", 2, 2, "tests/data/videos/small_robot.mp4", 0, (316.489747, 47.691571), []),
    ("sleap/clip.2node.slp", "sleap", 3000, 2, "tests/data/tracks/clip.mp4", 0, (335.25, 444.75), ["'female' is subject 0"]),
    # 453 instances, of which three are people's and stand for three of the predicted ones.
    ("sleap/dance.mp4.labels.slp", "sleap", 450, 17, _DANCE, 0,
     (193.832855, 230.051514), ["447 of 450 instances are SLEAP's predictions"]),
    ("label-studio/sdk_data_keypoints.json", "label-studio", 1, 3, "/data/upload/18/image1.jpg", 0, (138.7, 67.866), []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "format", "labels", "keypoints", "picture", "k", "place", "words"), FACTS)
def test_facts(
    name: str, format: str, labels: int, keypoints: int, picture: str, k: int, place: tuple[float, float], words: list[str]
) -> None:
    path = foreign(name)
    assert detect_format(path) == LabelFormat(format)
    found = read_labels(path)
    assert (len(found.labels), len(found.skeleton)) == (labels, keypoints)
    assert found.labels[0].image.source == picture
    assert found.labels[0].xy_px[k] == pytest.approx(place, abs=1e-3)
    assert len(found.notes) == len(words)
    assert all(word in note for word, note in zip(words, found.notes, strict=True))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sleap/simple_matlab.analysis.h5", "expected a table that pandas wrote"),
        ("sleap/minimal_instance.json", "expected a COCO object"),
        ("sleap/minimal_instance.000_centered_pair_low_quality.analysis.csv", "expected header rows scorer, bodyparts, coords"),
        ("deeplabcut/sleap_fixtures/maudlc_testdata.csv", "header row 'scorer' has 13 cells, expected 17"),
        ("coco/sleap-io-js/category_folders/annotations.json", "expected one category with keypoints, got: 'mouse', 'fly'"),
        ("coco/000000000785.jpg", "not a label file that can be read"),
    ],
)
def test_what_is_not_read_is_refused_with_the_reason(name: str, words: str) -> None:
    path = foreign(name)
    with pytest.raises(BadInputError, match=words) as raised:
        read_labels(path)
    assert str(path) in str(raised.value)


def test_deeplabcut_hdf5_and_csv_are_equal() -> None:
    for name in ("Reaching-Mackenzie/CollectedData_Mackenzie", "golden_mouse/CollectedData_shaokai"):
        a, b = (read_dlc(foreign(f"deeplabcut/{name}{suffix}")) for suffix in (".csv", ".h5"))
        assert a.skeleton.keypoints == b.skeleton.keypoints
        for x, y in zip(a.labels, b.labels, strict=True):
            assert (x.image, x.people) == (y.image, y.people)
            np.testing.assert_allclose(x.xy_px, y.xy_px, rtol=0, atol=1e-9)
    assert missing(read_dlc(foreign("deeplabcut/Reaching-Mackenzie/CollectedData_Mackenzie.h5"))) == 84


def test_visibility_is_read_as_it_is_meant() -> None:
    binary, ternary = (foreign(f"coco/sleap-io-js/visibility_{kind}/annotations.json") for kind in ("binary", "ternary"))

    def count(found: LabelSet) -> list[int]:
        return [int(sum((label.state == state).sum() for label in found.labels)) for state in PointState]

    assert count(read_coco(binary)) == [18, 33, 0, 0]
    assert count(read_coco(binary, visibility="ternary")) == [18, 0, 33, 0]
    assert count(read_coco(ternary)) == [18, 15, 18, 0]
    assert count(read_coco(foreign("posetrack18/annotations/test_posetrack18_val.json"))) == [56, 182, 0, 0]
    # 57, 17 and 164 points of visibility 0, 1 and 2, of which two annotations of 17 that nobody labelled.
    assert count(read_coco(foreign("coco/test_coco.json"))) == [57 - 2 * 17, 164, 17, 0]


def test_a_chosen_category() -> None:
    path = foreign("coco/sleap-io-js/category_folders/annotations.json")
    mouse = read_labels(path, category="mouse")
    assert [label.image.source for label in mouse.labels] == ["mouse/mouse_001.jpg", "mouse/mouse_002.jpg"]
