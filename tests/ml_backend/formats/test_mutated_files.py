"""Damaged files of every format: a value or an error in words, never another exception.

A few hundred per reader always, ten thousand with ``slow``.  HDF5 is read in a child process, many mutations in one, so that what
remains to be tested is what the parent makes of the values; a child that dies or hangs is an error in words by itself
(``recordings/test_limited_child.py``).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from label_config.skeleton import Skeleton
from label_config.values import FrameKey, ImageRef, ParallaxError
from ml_backend.formats.coco import read_coco, write_coco
from ml_backend.formats.dlc import read_dlc, read_dlc_predicted, write_dlc
from ml_backend.formats.label_studio import read_label_studio, write_label_studio
from ml_backend.formats.lightning_pose import read_lightning_pose, write_lightning_pose
from ml_backend.formats.records import LabelledImage, LabelSet
from ml_backend.formats.yolo import read_yolo, write_yolo

#: What damages hit upon: other kinds of values, huge and odd numbers, separators, quotes and bytes that are no text.
SPLICES = [
    *(
        b"",
        b"null",
        b"NaN",
        b"-1",
        b"1e400",
        b"9" * 30,
        b"[]",
        b"{}",
        b'""',
        b'"',
        b",",
        b";",
        b"\t",
        b"\n",
        b"\r",
        b"[[",
        b"true",
    ),
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xc3",
        "é".encode(),
        b"inf",
        b"0x1",
        b"1_0",
        b"[" * 2000,
        b"&a *a",
        b"!!python/object",
        b": ",
        b"../",
        b"/",
    ),
]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The same bytes with one to four pieces cut, doubled, moved or replaced."""
    for _ in range(chance.randint(1, 4)):
        a, b = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        b = min(b, a + chance.choice([1, 2, 8, 40, 400]))
        kind = chance.randrange(4)
        if kind == 0:
            data = data[:a] + data[b:]
        elif kind == 1:
            data = data[:b] + data[a:b] + data[b:]
        elif kind == 2:
            data = data[:a] + chance.choice(SPLICES) + data[b:]
        else:
            data = data[:a] + bytes(chance.randrange(256) for _ in range(b - a)) + data[b:]
    return data


def labels() -> LabelSet:
    skeleton = Skeleton("mouse", ("nose", "ear"), limbs=((0, 1),))
    xy, state = np.array([[10.5, 4.25], [3.0, 2.0]]), np.array([1, 2])
    images = [ImageRef(f"images/run/img{i}.png", size_px=(16, 8)) for i in range(3)]
    return LabelSet(skeleton, tuple(LabelledImage(one, xy, state, "cam", FrameKey("run", i)) for i, one in enumerate(images)))


def dlc(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    write_dlc(labels(), folder / "c.csv", scorer="me")
    return folder / "c.csv", read_dlc


def predictions(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    (folder / "p.csv").write_text("scorer,m,m,m\nbodyparts,a,a,a\ncoords,x,y,likelihood\n0,1,2,0.5\n1,3,4,0.9\n")
    return folder / "p.csv", lambda path: read_dlc_predicted(path, "v.mp4")


def lightning_pose(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    write_lightning_pose(labels(), {"cam": folder / "l.csv"}, scorer="me")
    return folder / "l.csv", lambda path: read_lightning_pose({None: path})


def coco(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    write_coco(labels(), folder / "a.json")
    return folder / "a.json", read_coco


def coco_of_others(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    path, _ = coco(folder)
    content = json.loads(path.read_text())
    for part in ("images", "annotations", "categories"):
        for item in content[part]:
            del item["parallax"]
    path.write_text(json.dumps(content))
    return path, read_coco


def label_studio(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    write_label_studio(labels(), folder / "t.json")
    return folder / "t.json", read_label_studio


def yolo(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    write_yolo(labels(), folder)
    (folder / "images" / "run").mkdir(parents=True)
    for label in labels().labels:
        cv2.imwrite(str(folder / label.image.source), np.zeros((8, 16, 3), np.uint8))
    return folder / "labels" / "run" / "img1.txt", lambda _: read_yolo(folder)


def yolo_yaml(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    _, read = yolo(folder)
    return folder / "data.yaml", read


MAKERS = [dlc, predictions, lightning_pose, coco, coco_of_others, label_studio, yolo, yolo_yaml]


def outcomes(make: Callable[[Path], tuple[Path, Callable[[Path], object]]], folder: Path, count: int) -> tuple[int, int]:
    """How many of so many mutations were read, and how many were refused."""
    path, read = make(folder)
    read(path)  # undamaged
    plain, chance = path.read_bytes(), random.Random(20)
    good = bad = 0
    for _ in range(count):
        data = damaged(plain, chance)
        path.write_bytes(data)
        try:
            read(path)
            good += 1
        except ParallaxError:
            bad += 1
        except Exception as error:
            raise AssertionError(f"{make.__name__}: {data!r}") from error
    return good, bad


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_few_hundred_damaged_files(make: Callable[[Path], tuple[Path, Callable[[Path], object]]], tmp_path: Path) -> None:
    good, bad = outcomes(make, tmp_path, 300)
    assert good + bad == 300
    assert bad > 30


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_ten_thousand_damaged_files(make: Callable[[Path], tuple[Path, Callable[[Path], object]]], tmp_path: Path) -> None:
    good, bad = outcomes(make, tmp_path, 10_000)
    assert good + bad == 10_000
