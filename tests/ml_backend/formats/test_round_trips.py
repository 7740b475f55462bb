"""Write → read → equal, per format, on labels with missing, occluded and absent points, two subjects, oblong pictures.

What a format has no word for is stated in its module; the test expects exactly that loss.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from label_config.values import BadInputError, FrameKey, ImageRef, PointState
from label_config.values.skeleton import Skeleton
from ml_backend.formats.coco import read_coco, write_coco
from ml_backend.formats.dlc import read_dlc, write_dlc
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.formats.lightning_pose import read_lightning_pose, write_lightning_pose
from ml_backend.formats.yolo import read_yolo, write_yolo

U, V, H, A = PointState.UNLABELLED, PointState.VISIBLE, PointState.OCCLUDED, PointState.ABSENT
SKELETON = Skeleton(
    "mouse",
    ("nose", "left ear", "right ear", "tail, base"),
    limbs=((0, 1), (0, 2), (0, 3)),
    root=3,
    pairs=((1, 2),),
    sigmas=(0.03, 0.05, 0.05, 0.1),
    flip_augment=True,
)


def label(source: Any, points: Any, states: Any, **more: Any) -> Any:
    xy = np.array([(np.nan, np.nan) if p is None else p for p in points], dtype=float)
    image = more.pop("image", ImageRef(source, size_px=(640, 360)))
    return LabelledImage(image, xy, np.array(states, dtype=np.int64), **more)


def labels() -> Any:
    third = 1 / 3
    return LabelSet(
        SKELETON,
        (
            label("images/run1/img007.png", [(10 + third, 20.1), (639.0, 0), (0.0, 359), (5e-3, 7)], [V, H, V, V], subject=0),
            label("images/run1/img007.png", [(300, 200), None, (310.25, 199), None], [H, U, V, A], subject=1),
            label("images/run1/img012.png", [None, (40, 30), None, None], [A, V, U, U]),
        ),
    )


def assert_equal(got: Any, expected: Any, atol: Any = 0.0) -> None:
    assert len(got.labels) == len(expected.labels)
    for a, b in zip(got.labels, expected.labels, strict=True):
        np.testing.assert_allclose(a.xy_px, b.xy_px, atol=atol, rtol=0)
        assert a.state.tolist() == b.state.tolist()
        assert (a.image, a.view, a.key, a.subject, a.box_px) == (b.image, b.view, b.key, b.subject, b.box_px)


def changed(label_set: Any, change: Any) -> Any:
    return LabelSet(label_set.skeleton, tuple(change(item) for item in label_set.labels))


def without(item: Any, *, states: Any, **more: Any) -> Any:
    """The label with some states turned into unlabelled."""
    gone = np.isin(item.state, states)
    return replace(
        item, state=np.where(gone, U, item.state).astype(np.int64), xy_px=np.where(gone[:, None], np.nan, item.xy_px), **more
    )


def test_coco_loses_nothing(tmp_path: Path) -> None:
    full = labels()
    more = full.labels + (
        label("images/b.png", [(1, 2)] * 4, [V] * 4, view="left", key=FrameKey("trial/1", 8), box_px=(0.5, 1.0, 20.0, 30.0)),
        label("v.mp4", [(1, 2)] * 4, [V] * 4, image=ImageRef("v.mp4", 3, 0.1, (0, 0, 60, 40), True, (60, 40), 90), view="a"),
        label("v.mp4", [None] * 4, [U] * 4, image=ImageRef("v.mp4", 4, 0.2, (0, 0, 60, 40), True, (60, 40), 90), view="a"),
    )
    full = LabelSet(SKELETON, more)
    write_coco(full, tmp_path / "a.json")
    got = read_coco(tmp_path / "a.json")
    assert got.skeleton == SKELETON
    assert_equal(got, full)


def test_coco_files_are_what_pycocotools_expects(tmp_path: Path) -> None:
    import contextlib
    import io

    from pycocotools.coco import COCO

    write_coco(labels(), tmp_path / "a.json")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "a.json"))
    first, second, _ = coco.loadAnns([1, 2, 3])
    assert len(coco.imgs) == 2
    assert coco.imgs[first["image_id"]]["width"] == 640
    assert first["num_keypoints"] == 4
    assert second["keypoints"] == [300, 200, 1, 0, 0, 0, 310.25, 199, 2, 0, 0, 0]
    assert second["bbox"] == [300, 199, 11.25, 2]
    assert second["area"] == 22.5
    assert coco.cats[1]["skeleton"] == [[1, 2], [1, 3], [1, 4]]


def test_coco_of_others_numbers_subjects_and_cuts_cycles(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 5, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 1, 9, 9, 0], "bbox": [0, 1, 5, 6]},
            {"id": 2, "image_id": 5, "category_id": 1, "keypoints": [0] * 9},
            {"id": 3, "image_id": 5, "category_id": 1, "keypoints": [0] * 9, "iscrowd": 1},
            {"id": 4, "image_id": 5, "category_id": 2},
        ],
        "categories": [
            {"id": 1, "name": "person", "keypoints": ["a", "b", "c"], "skeleton": [[2, 1], [2, 3], [3, 1]]},
            {"id": 2, "name": "ball"},
        ],
    }
    (tmp_path / "c.json").write_text(json.dumps(content))
    got = read_coco(tmp_path / "c.json")
    assert got.skeleton.limbs == ((0, 1), (0, 2))  # b–c closes a cycle; limbs lead away from the first keypoint
    assert [item.subject for item in got.labels] == [0]
    assert got.notes == (
        "1 annotations without a labelled keypoint are left out",
        "1 points have coordinates but visibility 0: they count as not labelled",
    )
    assert got.labels[0].state.tolist() == [V, H, U]
    assert np.isnan(got.labels[0].xy_px[2]).all()
    assert got.labels[0].box_px == (0, 1, 5, 6)
    assert got.labels[0].image == ImageRef("a.jpg", size_px=(64, 48))


def test_lightning_pose_keeps_all_four_states_per_view(tmp_path: Path) -> None:
    base = [item for item in labels().labels if item.subject == 0]
    both = tuple(
        replace(item, view=view, image=ImageRef(f"labeled-data/run1_{view}/img{i}.png"), key=FrameKey(f"run1_{view}", i))
        for view in ("top", "bot")
        for i, item in enumerate(base)
    )
    full = LabelSet(SKELETON, both)
    paths: dict[str | None, Path] = {"top": tmp_path / "CollectedData_top.csv", "bot": tmp_path / "CollectedData_bot.csv"}
    write_lightning_pose(full, paths, scorer="me")
    got = read_lightning_pose(paths)
    assert got.skeleton.keypoints == SKELETON.keypoints
    assert_equal(got, full)


def test_dlc_keeps_coordinates_subjects_and_order_but_not_why_a_point_is_missing(tmp_path: Path) -> None:
    full = labels()
    write_dlc(full, tmp_path / "CollectedData_me.csv", scorer="me")
    got = read_dlc(tmp_path / "CollectedData_me.csv")

    def as_dlc(item: Any) -> Any:
        item = without(item, states=[A], image=ImageRef(item.image.source), key=FrameKey("run1", int(item.image.source[-7:-4])))
        return replace(item, state=np.where(item.state == H, V, item.state).astype(np.int64))

    assert got.skeleton.keypoints == SKELETON.keypoints
    assert_equal(got, changed(full, as_dlc))


def test_dlc_of_one_animal_has_three_header_rows(tmp_path: Path) -> None:
    one = LabelSet(SKELETON, labels().labels[:1])
    write_dlc(one, tmp_path / "c.csv", scorer="me")
    lines = (tmp_path / "c.csv").read_text().splitlines()
    assert lines[0] == "scorer" + ",me" * 8
    assert lines[1].startswith('bodyparts,nose,nose,left ear,left ear,right ear,right ear,"tail, base"')
    assert lines[2] == "coords" + ",x,y" * 4
    assert lines[3].startswith("images/run1/img007.png,10.333333333333334,20.1,639.0,0.0,")


def yolo_pictures(folder: Any) -> None:
    for name in ("run1/img007.png", "run1/img012.png"):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((360, 640, 3), np.uint8))


def test_yolo_keeps_coordinates_occlusion_and_subjects(tmp_path: Path) -> None:
    full = labels()
    write_yolo(full, tmp_path)
    yolo_pictures(tmp_path)
    got = read_yolo(tmp_path)
    boxes = [(0, 0, 640, 360), (300, 199, 11.25, 2), (40, 30, 1, 1)]  # around the placed points
    for item, box in zip(got.labels, boxes, strict=True):
        assert item.box_px is not None
        np.testing.assert_allclose(item.box_px, np.array(box), atol=1e-9)
    got = changed(got, lambda item: replace(item, box_px=None))
    expected = changed(full, lambda item: without(item, states=[A], key=FrameKey("run1", int(item.image.source[-7:-4]))))
    assert_equal(got, expected, atol=1e-9)
    assert got.skeleton.keypoints == SKELETON.keypoints
    assert got.skeleton.pairs == SKELETON.pairs
    about = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert about["kpt_shape"] == [4, 3]
    assert about["flip_idx"] == [0, 2, 1, 3]


def test_yolo_numbers_are_relative_to_the_picture(tmp_path: Path) -> None:
    item = label("images/a.png", [(160, 90)] * 4, [V, H, V, V], box_px=(160.0, 90.0, 320.0, 180.0))
    write_yolo(LabelSet(SKELETON, (item,)), tmp_path)
    cells = (tmp_path / "labels" / "a.txt").read_text().split()
    assert cells[:8] == ["0", "0.5", "0.5", "0.5", "0.5", "0.25", "0.25", "2"]
    assert cells[10] == "1"


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda s, p: write_yolo(changed(s, lambda i: replace(i, image=ImageRef("images/a.png"))), p), "size of picture"),
        (
            lambda s, p: write_yolo(changed(s, lambda i: replace(i, image=ImageRef("a.png"))), p),
            "expected a picture at 'images/…'",
        ),
        (
            lambda s, p: write_yolo(changed(s, lambda i: replace(i, image=ImageRef("../images/a.png"))), p),
            "relative to the data set",
        ),
        (lambda s, p: write_lightning_pose(s, {None: p / "a.csv"}, scorer="me"), "knows one subject"),
        (
            lambda s, p: write_dlc(changed(s, lambda i: replace(i, subject=0)), p / "a.csv", scorer="me"),
            "two labels for subject 0",
        ),
    ],
)
def test_what_a_format_cannot_hold_is_refused(write: Any, message: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message):
        write(labels(), tmp_path)
