"""Damaged files of every format: a value or an error in words, never another exception.

A few hundred per reader always, ten thousand with ``slow``.  HDF5 is read in a child process of its own, whose end is an error in
words (``child_processes/test_limited_child.py``); here the campaign's process takes that part.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from label_config.values import FrameKey, ImageRef
from label_config.values.skeleton import Skeleton
from ml_backend.formats import dlc as dlc_module
from ml_backend.formats import movement as movement_module
from ml_backend.formats import sleap as sleap_module
from ml_backend.formats.coco import read_coco, write_coco
from ml_backend.formats.dlc import read_dlc, read_dlc_predicted, write_dlc
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.formats.label_studio import read_label_studio, write_label_studio
from ml_backend.formats.lightning_pose import read_lightning_pose, write_lightning_pose
from ml_backend.formats.yolo import read_yolo, write_yolo
from tests.campaign import Target, campaign, read_here
from tests.foreign.labels import sleap_package

from .test_dlc_h5 import pandas_table


def labels() -> LabelSet:
    skeleton = Skeleton("mouse", ("nose", "ear"), limbs=((0, 1),))
    xy, state = np.array([[10.5, 4.25], [3.0, 2.0]]), np.array([1, 2])
    images = [ImageRef(f"images/run/img{i}.png", size_px=(16, 8)) for i in range(3)]
    return LabelSet(skeleton, tuple(LabelledImage(one, xy, state, "cam", FrameKey("run", i)) for i, one in enumerate(images)))


def dlc(folder: Path) -> Target:
    write_dlc(labels(), folder / "c.csv", scorer="me")
    return folder / "c.csv", read_dlc


def predictions(folder: Path) -> Target:
    (folder / "p.csv").write_text("scorer,m,m,m\nbodyparts,a,a,a\ncoords,x,y,likelihood\n0,1,2,0.5\n1,3,4,0.9\n")
    return folder / "p.csv", lambda path: read_dlc_predicted(path, "v.mp4")


def lightning_pose(folder: Path) -> Target:
    write_lightning_pose(labels(), {"cam": folder / "l.csv"}, scorer="me")
    return folder / "l.csv", lambda path: read_lightning_pose({None: path})


def coco(folder: Path) -> Target:
    write_coco(labels(), folder / "a.json")
    return folder / "a.json", read_coco


def coco_of_others(folder: Path) -> Target:
    path, _ = coco(folder)
    content = json.loads(path.read_text())
    for part in ("images", "annotations", "categories"):
        for item in content[part]:
            del item["parallax"]
    path.write_text(json.dumps(content))
    return path, read_coco


def label_studio(folder: Path) -> Target:
    write_label_studio(labels(), folder / "t.json")
    return folder / "t.json", read_label_studio


def yolo(folder: Path) -> Target:
    write_yolo(labels(), folder)
    (folder / "images" / "run").mkdir(parents=True)
    for label in labels().labels:
        cv2.imwrite(str(folder / label.image.source), np.zeros((8, 16, 3), np.uint8))
    return folder / "labels" / "run" / "img1.txt", lambda _: read_yolo(folder)


def yolo_yaml(folder: Path) -> Target:
    _, read = yolo(folder)
    return folder / "data.yaml", read


def deeplabcut_h5(folder: Path) -> Target:
    """What the child does and what its parent makes of that, in one process."""
    pandas_table(folder / "c.h5", pickle.dumps([("me", "nose", "x"), ("me", "nose", "y")], protocol=0))
    dlc_module.read_limited = read_here  # type: ignore[attr-defined]
    return folder / "c.h5", read_dlc


def sleap(folder: Path) -> Target:
    """Likewise."""
    sleap_module.write_sleap(labels(), folder / "c.slp")
    sleap_module.read_limited = read_here  # type: ignore[attr-defined]
    return folder / "c.slp", sleap_module.read_sleap


def movement(folder: Path) -> Target:
    """Likewise."""
    (folder / "m").mkdir()
    movement_module.write_movement(labels(), folder / "m")
    movement_module.read_limited = read_here  # type: ignore[attr-defined]
    (path,) = (folder / "m").glob("*.nc")
    return path, movement_module.read_movement


def sleap_pictures(folder: Path) -> Target:
    """Likewise, of a package: the pictures too."""
    sleap_module.read_limited = read_here  # type: ignore[attr-defined]

    def read(path: Path) -> None:
        sleap_module.read_sleap(path)
        sleap_module.embedded_pictures(path)

    return sleap_package(folder, "left"), read


TEXT = ["dlc", "predictions", "lightning_pose", "coco", "coco_of_others", "label_studio", "yolo", "yolo_yaml"]
MANY = pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])


@pytest.mark.parametrize("count", [200, MANY], ids=["a few", "many"])
@pytest.mark.parametrize("name", TEXT)
def test_damaged_files_are_read_or_refused(name: str, count: int, tmp_path: Path) -> None:
    found = campaign(f"{__name__}:{name}", tmp_path, count)
    assert (found.problems, found.deaths) == ((), ())
    assert found.refused > count // 10


@pytest.mark.parametrize("count", [100, MANY], ids=["a few", "many"])
@pytest.mark.parametrize("name", ["deeplabcut_h5", "sleap", "sleap_pictures", "movement"])
def test_damaged_hdf5_files_cost_their_child_only(name: str, count: int, tmp_path: Path) -> None:
    assert campaign(f"{__name__}:{name}", tmp_path, count).problems == ()
