"""YOLO-pose as Ultralytics reads it: ``data.yaml``, and for ``images/a.png`` a text file ``labels/a.txt`` with one line
per subject: class, box centre and size, then x, y, visibility of every keypoint; all lengths relative to the picture.

What the format cannot say: absent points become unlabelled, a subject without a placed point has no line, subjects are
numbered by line, and view and instant are whatever the path tells.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import yaml

from label_config.skeleton import Skeleton
from label_config.values import BadInputError, FloatArray, ImageRef, PointState
from ml_backend.formats.records import LabelledImage, LabelSet, key_from_path
from ml_backend.heatmaps.crops import box_around

_CODE = {PointState.UNLABELLED: 0, PointState.ABSENT: 0, PointState.OCCLUDED: 1, PointState.VISIBLE: 2}
_STATE = {0: PointState.UNLABELLED, 1: PointState.OCCLUDED, 2: PointState.VISIBLE}
_PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def write_yolo(labels: LabelSet, folder: Path) -> None:
    """``data.yaml`` and the label files below ``folder``; pictures must lie at ``images/…`` there and have a known size."""
    lines: dict[Path, list[str]] = {}
    for label in sorted(labels.labels, key=lambda item: item.subject):
        target = folder / _label_path(label.image.source)
        lines.setdefault(target, [])
        if np.isfinite(label.xy_px).any():
            lines[target].append(_line(label))
    for target, content in lines.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(f"{line}\n" for line in content), encoding="utf-8")
    skeleton = labels.skeleton
    about = {
        "path": ".",
        "train": "images",
        "val": "images",
        "kpt_shape": [len(skeleton), 3],
        "flip_idx": list(skeleton.mirror),
        "names": {0: skeleton.name},
        "kpt_names": {0: list(skeleton.keypoints)},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(yaml.safe_dump(about, sort_keys=False), encoding="utf-8")


def _label_path(source: str) -> PurePosixPath:
    path = PurePosixPath(source)
    if path.is_absolute() or ".." in path.parts or "images" not in path.parts:
        raise BadInputError(f"YOLO: expected a picture at 'images/…' relative to the data set, got {source!r}")
    at = len(path.parts) - 1 - path.parts[::-1].index("images")
    return PurePosixPath(*path.parts[:at], "labels", *path.parts[at + 1 :]).with_suffix(".txt")


def _line(label: LabelledImage) -> str:
    if label.image.size_px is None:
        raise BadInputError(f"YOLO: the size of picture {label.image.source!r} must be known to write relative coordinates")
    w, h = label.image.size_px
    box = label.box_px or box_around(label.xy_px)
    if box is None:
        raise BadInputError(f"YOLO: {label.image.source!r} has a subject without a placed point")
    x, y, width, height = box
    # A box covers pixels from x − ½ on; relative to the picture's own left edge that is x.
    numbers = [(x + width / 2) / w, (y + height / 2) / h, width / w, height / h]
    text = ["0", *(repr(float(v)) for v in numbers)]
    for point, state in zip(np.nan_to_num(label.xy_px, nan=0.0), label.state, strict=True):
        text += [repr(float(point[0] / w)), repr(float(point[1] / h)), str(_CODE[PointState(state)])]
    return " ".join(text)


def read_yolo(folder: Path) -> LabelSet:
    """A data set as :func:`write_yolo` lays it out; keypoint names come from ``kpt_names``, else they are numbered.

    Raises BadInputError naming file and line.
    """
    skeleton, dimensions = _read_about(folder / "data.yaml")
    labels: list[LabelledImage] = []
    for picture in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _PICTURES):
        source = picture.relative_to(folder).as_posix()
        if "images" not in picture.relative_to(folder).parts:
            continue
        path = folder / _label_path(source)
        if path.exists():
            labels += _read_labels(path, picture, source, len(skeleton), dimensions)
    return LabelSet(skeleton, tuple(labels))


def _read_about(path: Path) -> tuple[Skeleton, int]:
    try:
        about = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInputError(f"{path}: cannot be read as YAML ({error})") from error
    shape = about.get("kpt_shape") if isinstance(about, dict) else None
    if not (isinstance(shape, list) and len(shape) == 2 and shape[1] in (2, 3) and isinstance(shape[0], int)):
        raise BadInputError(f"{path}: expected kpt_shape: [number of keypoints, 2 or 3], got {shape!r}")
    classes = about.get("names", {0: path.parent.name})
    if len(classes) != 1:
        raise BadInputError(f"{path}: expected one class, got {len(classes)}")
    given = about.get("kpt_names", {0: [f"keypoint{i}" for i in range(shape[0])]})
    names = tuple(given[0])
    if len(names) != shape[0]:
        raise BadInputError(f"{path}: kpt_names has {len(names)} names, kpt_shape says {shape[0]}")
    flip = about.get("flip_idx") or list(range(len(names)))
    pairs = tuple((i, j) for i, j in enumerate(flip) if i < j)
    return Skeleton(str(classes[0]), names, pairs=pairs), shape[1]


def _read_labels(path: Path, picture: Path, source: str, count: int, dimensions: int) -> list[LabelledImage]:
    image = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise BadInputError(f"{picture}: cannot be read as a picture; its size is needed for {path}")
    h, w = image.shape[:2]
    labels: list[LabelledImage] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        values = _numbers(f"{path}:{number}", line, 5 + count * dimensions)
        points = values[5:].reshape(count, dimensions)
        seen = points[:, 2] if dimensions == 3 else np.where((points != 0).any(axis=1), 2.0, 0.0)
        if not np.isin(seen, (0, 1, 2)).all():
            raise BadInputError(f"{path}:{number}: visibility must be 0, 1 or 2")
        width, height = values[3] * w, values[4] * h
        labels.append(
            LabelledImage(
                image=ImageRef(source, size_px=(w, h)),
                xy_px=np.where(seen[:, None] > 0, points[:, :2] * (w, h), np.nan),
                state=np.array([_STATE[int(v)] for v in seen], dtype=np.int64),
                key=key_from_path(source),
                subject=len(labels),
                box_px=(values[1] * w - width / 2, values[2] * h - height / 2, width, height),
            )
        )
    return labels


def _numbers(where: str, line: str, count: int) -> FloatArray:
    cells = line.split()
    if len(cells) != count:
        raise BadInputError(f"{where}: expected {count} numbers, got {len(cells)}")
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        raise BadInputError(f"{where}: expected numbers, got {line[:80]!r}") from None
    if not np.isfinite(values).all():
        raise BadInputError(f"{where}: expected finite numbers, got {line[:80]!r}")
    return values
