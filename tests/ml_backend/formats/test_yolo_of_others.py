"""YOLO-pose data sets as Ultralytics reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from label_config.values import BadInputError, ImageRef
from label_config.values.skeleton import Skeleton
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.formats.yolo import read_yolo, write_yolo

#: A JPEG's EXIF segment that says: turn by a quarter (orientation 6).
EXIF_6 = bytes.fromhex("ffe1002245786966000049492a00080000000100120103000100000006000000") + bytes(4)


def data_set(folder: Path, line: str) -> Path:
    for name in ("images", "labels"):
        (folder / name).mkdir()
    cv2.imwrite(str(folder / "images" / "a.jpg"), np.zeros((40, 80, 3), np.uint8))
    (folder / "labels" / "a.txt").write_text(line)
    (folder / "data.yaml").write_text("kpt_shape: [1, 3]\nkpt_names: {0: [nose]}\n")
    return folder


def test_a_picture_turned_by_its_exif_is_as_wide_as_it_is_shown(tmp_path: Path) -> None:
    folder = data_set(tmp_path, "0 .5 .5 .2 .2 .25 .75 2\n")
    picture = folder / "images" / "a.jpg"
    plain = picture.read_bytes()
    picture.write_bytes(plain[:2] + EXIF_6 + plain[2:])
    (label,) = read_yolo(folder).labels
    assert label.image.size_px == (40, 80)
    assert label.xy_px.tolist() == [[10, 60]]


def test_an_empty_file_is_no_label_and_a_missing_one_neither(tmp_path: Path) -> None:
    folder = data_set(tmp_path, "")
    cv2.imwrite(str(folder / "images" / "b.png"), np.zeros((4, 8, 3), np.uint8))
    found = read_yolo(folder / "data.yaml")
    assert found.labels == ()
    assert found.notes == (
        "1 pictures have no label file: nobody labelled them",
        "1 label files are empty (no subject in the picture): nothing is imported for them",
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 .5 .5 .2 .2 40 20 2", "relative to the picture, from 0 to 1; these are pixels"),
        ("0 .5 .5 .2 .2 .5 .5 3", "visibility must be 0, 1 or 2"),
        ("0 .5 .5 .2 .2 .5", "expected 8 numbers, got 6"),
    ],
)
def test_lines_that_cannot_be_meant(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message):
        read_yolo(data_set(tmp_path, line))


def test_what_is_written_holds_wherever_training_starts(tmp_path: Path) -> None:
    skeleton = Skeleton("mouse", ("a", "b", "c"), limbs=((0, 1),), pairs=((1, 2),), sigmas=(0.1, 0.2, 0.3))
    label = LabelledImage(ImageRef("images/a.png", size_px=(8, 4)), np.array([[1.0, 1], [2, 2], [3, 3]]), np.array([1, 1, 1]))
    nobody = replace(
        label, image=ImageRef("images/b.png", size_px=(8, 4)), xy_px=np.full((3, 2), np.nan), state=np.zeros(3, dtype=np.int64)
    )
    write_yolo(LabelSet(skeleton, (label, nobody)), tmp_path)
    about = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert "path" not in about  # a relative one would count from the working folder
    assert "flip_idx" not in about  # mirrored copies are no valid examples of this skeleton
    assert [path.name for path in (tmp_path / "labels").iterdir()] == ["a.txt"]  # an empty b.txt would say: no subject there
    write_yolo(LabelSet(replace(skeleton, flip_augment=True), (label,)), tmp_path)
    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["flip_idx"] == [0, 2, 1]
