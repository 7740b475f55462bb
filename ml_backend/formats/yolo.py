"""YOLO-pose as Ultralytics reads it: ``data.yaml``, and for ``images/a.png`` a text file ``labels/a.txt`` with one line
per subject: class, box centre and size, then x, y, visibility of every keypoint; all lengths relative to the picture.

What the format cannot say: absent points become unlabelled, a subject without a placed point has no line, subjects are
numbered by line, and view and instant are whatever the path says.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from label_config.settings.skeleton_files import load_skeleton, skeleton_to_mapping
from label_config.settings.yaml_files import ShallowLoader, parse_yaml
from label_config.values import FloatArray, ImageRef, PointState
from label_config.values.errors import LabelFileError
from label_config.values.refusing import refusing
from label_config.values.skeleton import Skeleton
from ml_backend.formats.label_records import LabelledImage, LabelSet, key_from_path
from ml_backend.heatmaps.crops import box_around
from ml_backend.recordings import UnreadableImageError
from ml_backend.recordings.sources import read_picture

_CODE = {PointState.UNLABELLED: 0, PointState.ABSENT: 0, PointState.OCCLUDED: 1, PointState.VISIBLE: 2}
_STATE = {0: PointState.UNLABELLED, 1: PointState.OCCLUDED, 2: PointState.VISIBLE}
_PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def write_yolo(labels: LabelSet, folder: Path) -> None:
    """``data.yaml`` and the label files below ``folder``; pictures must lie at ``images/…`` there and have a known size.

    A picture without a placed point gets no file: Ultralytics takes an empty one for "no subject here".  ``flip_idx`` is left
    out where mirrored copies are no valid examples, which turns Ultralytics' own mirroring off.  No ``path``: a relative one
    counts from wherever the training starts, its absence from the file.
    """
    lines: dict[Path, list[str]] = {}
    for label in sorted(labels.labels, key=lambda item: item.subject):
        target = folder / _label_path(label.image.source)
        if np.isfinite(label.xy_px).any():
            lines.setdefault(target, []).append(_line(label))
    for target, content in lines.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(f"{line}\n" for line in content), encoding="utf-8")
    skeleton = labels.skeleton
    about: dict[str, Any] = {
        "train": "images",
        "val": "images",
        "kpt_shape": [len(skeleton), 3],
        "names": {0: skeleton.name},
        "kpt_names": {0: list(skeleton.keypoints)},
    }
    if skeleton.flip_augment:
        about["flip_idx"] = list(skeleton.mirror)
    about["parallax"] = skeleton_to_mapping(skeleton)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(yaml.safe_dump(about, sort_keys=False), encoding="utf-8")


def _label_path(source: str) -> PurePosixPath:
    path = PurePosixPath(source)
    if path.is_absolute() or ".." in path.parts or "images" not in path.parts:
        raise LabelFileError(f"YOLO: expected a picture at 'images/…' relative to the data set, got {source!r}")
    at = len(path.parts) - 1 - path.parts[::-1].index("images")
    return PurePosixPath(*path.parts[:at], "labels", *path.parts[at + 1 :]).with_suffix(".txt")


def _line(label: LabelledImage) -> str:
    if label.image.size_px is None:
        raise LabelFileError(f"YOLO: the size of picture {label.image.source!r} must be known to write relative coordinates")
    w, h = label.image.size_px
    box = label.box_px or box_around(label.xy_px)
    if box is None:
        raise LabelFileError(f"YOLO: {label.image.source!r} has a subject without a placed point")
    x, y, width, height = box
    # A box covers pixels from x − ½ on; relative to the picture's own left edge that is x.
    numbers = [(x + width / 2) / w, (y + height / 2) / h, width / w, height / h]
    text = ["0", *(repr(float(v)) for v in numbers)]
    for point, state in zip(np.nan_to_num(label.xy_px, nan=0.0), label.state, strict=True):
        text += [repr(float(point[0] / w)), repr(float(point[1] / h)), str(_CODE[PointState(state)])]
    return " ".join(text)


def read_yolo(folder: Path) -> LabelSet:
    """A data set as :func:`write_yolo` lays it out, or its ``data.yaml``; names come from ``kpt_names``, else are numbered.

    Raises BadInputError naming file and line.
    """
    about_path = folder if folder.suffix in (".yaml", ".yml") else folder / "data.yaml"
    folder = about_path.parent
    expected = "the data.yaml of a YOLO-pose data set"
    with refusing(LabelFileError, f"{about_path}: expected {expected}; one of its values is of another kind"):
        skeleton, dimensions, notes = _read_about(about_path)
    labels: list[LabelledImage] = []
    empty = missing = comments = 0
    for picture in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _PICTURES and not p.name.startswith(".")):
        source = picture.relative_to(folder).as_posix()
        if "images" not in picture.relative_to(folder).parts:
            continue
        path = folder / _label_path(source)
        if not path.exists():
            missing += 1
            continue
        lines = _lines(path)
        comments += sum(line.startswith("#") for _, line in lines)
        found = _read_labels(
            path, picture, source, len(skeleton), dimensions, [(n, t) for n, t in lines if not t.startswith("#")]
        )
        empty += not found
        labels += found
    lost = sum(not item.says_something for item in labels)
    labels = [item for item in labels if item.says_something]
    for count, what in (
        (missing, "pictures have no label file: nobody labelled them"),
        (empty, "label files are empty (no subject in the picture): nothing is imported for them"),
        (lost, "subjects have a box but no keypoint: they are left out"),
        (comments, "lines begin with # and were passed over; Ultralytics refuses such files"),
    ):
        if count:
            notes.append(f"{count} {what}")
    return LabelSet(skeleton, tuple(labels), tuple(notes))


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelFileError(f"{path}: cannot be read as text ({error})") from error
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _read_about(path: Path) -> tuple[Skeleton, int, list[str]]:
    with refusing(LabelFileError, f"{path}: cannot be read as YAML"):
        text = path.read_text(encoding="utf-8")
    about = parse_yaml(text, str(path), loader=ShallowLoader, kind=LabelFileError)
    shape = about.get("kpt_shape") if isinstance(about, dict) else None
    if not (
        isinstance(shape, list) and len(shape) == 2 and shape[1] in (2, 3) and type(shape[0]) is int and 0 < shape[0] < 10_000
    ):
        raise LabelFileError(f"{path}: expected kpt_shape: [number of keypoints, 2 or 3], got {shape!r}")
    classes = about.get("names", {0: path.parent.name})
    classes = list(classes.values()) if isinstance(classes, dict) else list(classes)
    if len(classes) != 1:
        raise LabelFileError(f"{path}: expected one class, got {len(classes)}")
    notes = []
    if about.get("kpt_names") is None:
        notes.append(f"data.yaml has no kpt_names: the keypoints are called keypoint0 … keypoint{shape[0] - 1}; give aliases")
    given = about.get("kpt_names") or {0: [f"keypoint{i}" for i in range(shape[0])]}
    names = tuple(map(str, next(iter(given.values())) if isinstance(given, dict) else given))
    if len(names) != shape[0]:
        raise LabelFileError(f"{path}: kpt_names has {len(names)} names, kpt_shape says {shape[0]}")
    if isinstance(about.get("parallax"), dict):
        skeleton = load_skeleton(about["parallax"])
        if skeleton.keypoints != names:
            raise LabelFileError(f"{path}: 'parallax' and 'kpt_names' name different keypoints; delete 'parallax'")
        return skeleton, shape[1], notes
    flip = [int(i) for i in about.get("flip_idx") or range(len(names))]
    if sorted(flip) != list(range(len(names))):
        raise LabelFileError(f"{path}: flip_idx: expected every number from 0 to {len(names) - 1} once, got {flip}")
    pairs = tuple((i, j) for i, j in enumerate(flip) if i < j)
    return Skeleton(str(classes[0]), names, pairs=pairs, flip_augment="flip_idx" in about), shape[1], notes


def _read_labels(
    path: Path, picture: Path, source: str, count: int, dimensions: int, lines: list[tuple[int, str]]
) -> list[LabelledImage]:
    if not lines:
        return []
    try:
        image = read_picture(str(picture))  # upright by its EXIF orientation, as Ultralytics reads it
    except UnreadableImageError as error:
        raise LabelFileError(f"{picture}: cannot be read as a picture ({error}); its size is needed for {path}") from error
    h, w = image.shape[:2]
    labels: list[LabelledImage] = []
    for number, line in lines:
        values = _numbers(f"{path}:{number}", line, 5 + count * dimensions)
        points = values[5:].reshape(count, dimensions)
        seen = points[:, 2] if dimensions == 3 else np.where((points != 0).any(axis=1), 2.0, 0.0)
        if not np.isin(seen, (0, 1, 2)).all():
            raise LabelFileError(f"{path}:{number}: visibility must be 0, 1 or 2")
        if (np.abs(points[:, :2]) > 2).any() or (np.abs(values[1:5]) > 2).any():
            raise LabelFileError(f"{path}:{number}: expected coordinates relative to the picture, from 0 to 1; these are pixels")
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
        raise LabelFileError(f"{where}: expected {count} numbers, got {len(cells)}")
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        raise LabelFileError(f"{where}: expected numbers, got {line[:80]!r}") from None
    if not np.isfinite(values).all():
        raise LabelFileError(f"{where}: expected finite numbers, got {line[:80]!r}")
    return values
