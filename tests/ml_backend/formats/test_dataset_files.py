"""Annotation files of data sets, written by scipy and json as the data sets describe them."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from label_config.values import BadInputError, FrameKey, PointState
from ml_backend.formats.exporting import Export
from ml_backend.formats.format_registry import detect_format, read_labels
from ml_backend.formats.interhand import interhand_skeleton
from ml_backend.formats.label_records import LabelSet
from ml_backend.formats.names import READ_ONLY, LabelFormat

SEEN, HIDDEN, NONE = PointState.VISIBLE, PointState.OCCLUDED, PointState.UNLABELLED


def test_leeds_sports_pose_says_occluded_and_its_extension_visible(tmp_path: Path) -> None:
    poses = np.arange(2 * 14 * 3, dtype=float).reshape(2, 14, 3) + 1
    poses[..., 2] = 0
    poses[0, 3, 2] = 1
    savemat(tmp_path / "joints.mat", {"joints": poses.transpose(2, 1, 0)})
    found = read_labels(tmp_path / "joints.mat")
    assert found.skeleton.name == "lsp14"
    assert [label.image.source for label in found.labels] == ["images/im0001.jpg", "images/im0002.jpg"]
    np.testing.assert_array_equal(found.labels[1].xy_px, poses[1, :, :2] - 1)
    assert found.labels[0].state.tolist() == [SEEN] * 3 + [HIDDEN] + [SEEN] * 10

    poses[..., 2] = 1 - poses[..., 2]
    savemat(tmp_path / "extended.mat", {"joints": poses.transpose(1, 2, 0)})
    found = read_labels(tmp_path / "extended.mat")
    assert found.labels[0].image.source == "images/im00001.jpg"
    assert found.labels[0].state.tolist() == [SEEN] * 3 + [NONE] + [SEEN] * 10
    assert np.isnan(found.labels[0].xy_px[3]).all()


def mpii(tmp_path: Path, pictures: Any) -> Any:
    """pictures: [(name, [[(id, x, y, visible), …] of each person])]; ``visible`` None = the field is not there."""

    def structs(items: Any) -> Any:
        fields = list(items[0]) if items else []
        array = np.zeros((1, len(items)), dtype=[(field, object) for field in fields])
        for i, item in enumerate(items):
            for field in fields:
                array[0, i][field] = item[field]
        return array

    annolist = [
        {
            "image": {"name": name},
            "annorect": structs(
                [
                    {
                        "x1": 1.0,
                        "annopoints": {
                            "point": structs(
                                [
                                    {"id": k, "x": x, "y": y, "is_visible": np.zeros(0) if v is None else v}
                                    for k, x, y, v in person
                                ]
                            )
                        }
                        if person
                        else np.zeros((0, 0)),
                    }
                    for person in people
                ]
            )
            if people
            else np.zeros((0, 0)),
        }
        for name, people in pictures
    ]
    savemat(tmp_path / "mpii.mat", {"RELEASE": {"annolist": structs(annolist), "img_train": np.ones(len(pictures))}})
    return tmp_path / "mpii.mat"


def test_mpii_people_points_and_visibility(tmp_path: Path) -> None:
    first = [(9, 101.5, 51.0, None), (0, 11.0, 21.0, 0), (6, 31.0, 41.0, 1), (7, 5.0, 6.0, "1"), (8, 7.0, 8.0, "0")]
    path = mpii(tmp_path, [("a.jpg", [first, [(15, 2.0, 3.0, 1)], []]), ("empty.jpg", []), ("b.jpg", [[(0, 1.0, 1.0, 1)]])])
    found = read_labels(path)
    assert detect_format(path) is LabelFormat.MAT
    assert [(label.image.source, label.subject) for label in found.labels] == [("a.jpg", 0), ("a.jpg", 1), ("b.jpg", 0)]
    label, at = found.labels[0], found.skeleton.index
    assert label.xy_px[at["head_top"]].tolist() == [100.5, 50.0]
    assert {found.skeleton.keypoints[k]: label.state[k] for k in np.flatnonzero(label.state != NONE)} == {
        "head_top": SEEN, "right_ankle": HIDDEN, "pelvis": SEEN, "thorax": SEEN, "upper_neck": HIDDEN,
    }  # fmt: skip
    assert found.labels[2].xy_px[0].tolist() == [0.0, 0.0]
    assert any("1 points do not say" in note for note in found.notes)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"other": np.ones(3)}, "'joints'.*'RELEASE'"),
        ({"joints": np.ones((2, 14, 5))}, r"\(3, 14, n\)"),
        ({"joints": np.full((3, 14, 5), 7.0)}, "0 or 1"),
        ({"joints": np.array(["a"])}, "numbers"),
        ({"RELEASE": {"version": 12}}, "annolist"),
    ],
)
def test_other_mat_files_are_refused_with_their_name(content: Any, why: Any, tmp_path: Path) -> None:
    savemat(tmp_path / "odd.mat", content)
    with pytest.raises(BadInputError, match=rf"(?s)odd\.mat.*{why}"):
        read_labels(tmp_path / "odd.mat")


def test_a_damaged_mat_file_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "joints.mat", {"joints": np.zeros((3, 14, 50))})
    raw = (tmp_path / "joints.mat").read_bytes()
    (tmp_path / "cut.mat").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(BadInputError, match=r"cut\.mat"):
        read_labels(tmp_path / "cut.mat")


def interhand(tmp_path: Path, world: Any, valid: Any, rotation: Any, position: Any) -> Any:
    focal, centre = [1200.0, 1210.0], [150.0, 250.0]
    image = {"id": 7, "file_name": "Capture3/seq/cam400026/image69148.jpg", "width": 334, "height": 512}
    image |= {"capture": 3, "subject": 3, "seq_name": "0390_dh_touchROM", "camera": "400026", "frame_idx": 69148}
    annotation = {"id": 7, "image_id": 7, "bbox": [33.5, 164.9, 185.0, 142.7], "hand_type": "interacting"}
    cameras = {"campos": {"400026": position.tolist()}, "camrot": {"400026": rotation.tolist()}}
    cameras |= {"focal": {"400026": focal}, "princpt": {"400026": centre}}
    points = {"world_coord": world.tolist(), "joint_valid": [[bool(v)] for v in valid], "hand_type": "interacting"}
    for ending, content in {
        "data": {"images": [image], "annotations": [annotation]},
        "joint_3d": {"3": {"69148": points}},
        "camera": {"3": cameras},
    }.items():
        (tmp_path / f"InterHand2.6M_val_{ending}.json").write_text(json.dumps(content))
    return tmp_path / "InterHand2.6M_val_data.json", focal, centre


def test_interhand_projects_as_opencv_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rotation = cv2.Rodrigues(np.array([0.2, -0.5, 0.1]))[0]
    position = np.array([30.0, -20.0, 15.0])
    world = rng.normal(0, 60, (42, 3)) + position + rotation.T @ [0, 0, 900.0]
    valid = np.ones(42)
    valid[21:] = 0
    path, focal, centre = interhand(tmp_path, world, valid, rotation, position)
    found = read_labels(path)
    (label,) = found.labels
    matrix = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    expected = cv2.projectPoints(world, cv2.Rodrigues(rotation)[0], -rotation @ position, matrix, np.zeros(0))[0][:, 0]
    np.testing.assert_allclose(label.xy_px[:21], expected[:21], atol=1e-6)
    assert label.state.tolist() == [SEEN] * 21 + [NONE] * 21
    assert (label.view, str(label.key), label.image.size_px) == ("400026", "capture3-0390_dh_touchROM/069148", (334, 512))
    assert label.box_px == (33.5, 164.9, 185.0, 142.7)


def test_interhand_skeleton_is_two_trees() -> None:
    skeleton = interhand_skeleton()
    assert (len(skeleton), len(skeleton.limbs), skeleton.keypoints[20], skeleton.keypoints[41]) == (42, 40, "R_Wrist", "L_Wrist")
    assert {skeleton.keypoints[a][2:] == skeleton.keypoints[b][2:] for a, b in skeleton.pairs} == {True}


def test_a_missing_frame_is_named(tmp_path: Path) -> None:
    path, *_ = interhand(tmp_path, np.ones((42, 3)), np.ones(42), np.eye(3), np.zeros(3))
    (tmp_path / "InterHand2.6M_val_joint_3d.json").write_text(json.dumps({"3": {}}))
    with pytest.raises(BadInputError, match="frame 69148"):
        read_labels(path)


def panoptic(folder: Path, bodies: Any, cameras: Any = None) -> Path:
    """A recording of one instant, seen by an HD camera and by one that is none."""
    camera = {"K": [[800, 0, 320], [0, 810, 240], [0, 0, 1]], "R": np.eye(3).tolist(), "t": [[10], [20], [300]]}
    camera |= {"distCoef": [0.1, -0.02, 0.001, 0.002, 0.0], "resolution": [640, 480]}
    named = [{"name": name, **camera, "t": [[x], [20], [300]]} for name, x in (("00_07", 10), ("00_08", 5000), ("01_01", 15))]
    poses = folder / "take1" / "hdPose3d_stage1_coco19"
    poses.mkdir(parents=True)
    (poses / "body3DScene_00000042.json").write_text(json.dumps({"version": 0.7, "bodies": bodies}))
    (folder / "take1" / "calibration_take1.json").write_text(json.dumps({"cameras": named if cameras is None else cameras}))
    return poses


def body(number: int, **changes: Any) -> dict[str, Any]:
    points = np.random.default_rng(abs(number)).normal(0, 40, (19, 4))
    points[:, 3] = 0.5
    points[8] = (0, 0, 0, -1)
    return {"id": number, "joints19": points.ravel().tolist(), **changes}


def test_panoptic_bodies_are_projected_into_hd_cameras_as_opencv_does(tmp_path: Path) -> None:
    bodies = [body(0), body(3)]
    found = read_labels(panoptic(tmp_path, bodies))
    assert [(label.view, label.subject, str(label.key)) for label in found.labels] == [
        ("00_07", 0, "take1/000042"), ("00_07", 3, "take1/000042"),
    ]  # fmt: skip
    assert found.labels[0].image.source == "hdImgs/00_07/00_07_00000042.jpg"
    matrix = np.array([[800.0, 0, 320], [0, 810, 240], [0, 0, 1]])
    for label, one in zip(found.labels, bodies, strict=True):
        world = np.array(one["joints19"]).reshape(19, 4)[:, :3].copy()
        lens = np.array([0.1, -0.02, 0.001, 0.002, 0.0])
        expected = cv2.projectPoints(world, np.zeros(3), np.array([10.0, 20.0, 300.0]), matrix, lens)[0][:, 0]
        inside = ((expected >= -0.5) & (expected <= [639.5, 479.5])).all(axis=1) & (np.arange(19) != 8)
        np.testing.assert_allclose(label.xy_px[inside], expected[inside], atol=1e-6)
        assert label.state.tolist() == np.where(inside, SEEN, NONE).tolist()


@pytest.mark.parametrize(
    ("bodies", "message"),
    [
        ([body(0, joints19=[1.0] * 75)], "joints19"),
        ([body(0, joints19="far")], "joints19"),
        ([{"id": 0}], "joints19"),
        ([body(-1)], "numbered from 0"),
        ([body(n) for n in range(65)], "at most 64 bodies"),
        ({"id": 0}, "expected bodies"),
    ],
)
def test_odd_panoptic_bodies_are_refused_with_their_file(bodies: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=rf"body3DScene_00000042\.json.*{message}"):
        read_labels(panoptic(tmp_path, bodies))


def test_panoptic_poses_need_the_calibration_of_their_recording(tmp_path: Path) -> None:
    poses = panoptic(tmp_path, [body(0)])
    (tmp_path / "take1" / "calibration_take1.json").rename(tmp_path / "elsewhere.json")
    with pytest.raises(BadInputError, match=r"calibration_take1\.json"):
        read_labels(poses / "body3DScene_00000042.json")


@pytest.mark.data
def test_the_panoptic_files_of_mmpose(data_folder: Path) -> None:
    found = read_labels(data_folder / "foreign/panoptic_body3d/160906_band1/hdPose3d_stage1_coco19")
    assert {(label.key and label.key.index, label.subject) for label in found.labels} == {
        (f, s) for f in (168, 169) for s in range(3)
    }
    (label,) = [x for x in found.labels if x.view == "00_00" and x.subject == 0 and x.key == FrameKey("160906_band1", 169)]
    np.testing.assert_allclose(label.xy_px[0], (1209.4055, 599.0289), atol=1e-3)  # by OpenCV


@pytest.mark.parametrize("format", sorted(READ_ONLY))
def test_what_is_only_read_is_not_written(format: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="only read"):
        Export(LabelSet(interhand_skeleton(), ()), format, tmp_path / "out").write()
    assert not (tmp_path / "out").exists()
