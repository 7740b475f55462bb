"""COCO keypoints, lossless.

Visibility 2 = visible, 1 = occluded but placed, 0 = everything else.  What COCO has no word for (absent points, subject,
view, instant, exact skeleton) travels in a field ``parallax`` of each object, which other readers ignore.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from label_config.skeleton import Skeleton
from label_config.values import DEFAULT_SUBJECT, BadInputError, FrameKey, ImageRef, PointState
from ml_backend.formats.records import LabelledImage, LabelSet, keypoint_forest
from ml_backend.heatmaps.crops import box_around

_CODE = {PointState.UNLABELLED: 0, PointState.ABSENT: 0, PointState.OCCLUDED: 1, PointState.VISIBLE: 2}
_STATE = {0: PointState.UNLABELLED, 1: PointState.OCCLUDED, 2: PointState.VISIBLE}


def write_coco(labels: LabelSet, path: Path) -> None:
    """A COCO file; ``area`` is that of the box, as ``parallax.area_source`` says."""
    images: dict[tuple[str, str | None], dict[str, Any]] = {}
    annotations = []
    for number, label in enumerate(labels.labels, start=1):
        key = (json.dumps(label.image.to_json(), sort_keys=True), label.view)
        image = images.setdefault(key, _image_to_json(label, len(images) + 1))
        annotations.append(_annotation_to_json(label, number, image["id"]))
    content = {
        "info": {"description": "keypoints"},
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [_category_to_json(labels.skeleton)],
    }
    path.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def _image_to_json(label: LabelledImage, number: int) -> dict[str, Any]:
    ours: dict[str, Any] = {"image": label.image.to_json(), "view": label.view}
    if label.key is not None:
        ours["sequence"], ours["index"] = label.key.sequence, label.key.index
    image: dict[str, Any] = {"id": number, "file_name": label.image.source, "parallax": ours}
    if label.image.size_px:
        image["width"], image["height"] = label.image.size_px
    return image


def _annotation_to_json(label: LabelledImage, number: int, image_id: int) -> dict[str, Any]:
    code = [_CODE[PointState(s)] for s in label.state]
    box = label.box_px or box_around(label.xy_px) or (0.0, 0.0, 0.0, 0.0)
    ours = {
        "subject": label.subject,
        "absent": np.flatnonzero(label.state == PointState.ABSENT).tolist(),
        "area_source": "bbox",
        "box_given": label.box_px is not None,
    }
    points = np.nan_to_num(label.xy_px, nan=0.0).tolist()
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "keypoints": [value for (x, y), v in zip(points, code, strict=True) for value in (x, y, v)],
        "num_keypoints": sum(v > 0 for v in code),
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": 0,
        "parallax": ours,
    }


def _category_to_json(skeleton: Skeleton) -> dict[str, Any]:
    return {
        "id": 1,
        "name": skeleton.name,
        "supercategory": skeleton.name,
        "keypoints": list(skeleton.keypoints),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
        "parallax": {
            "root": skeleton.root,
            "pairs": skeleton.pairs,
            "sigmas": skeleton.sigmas,
            "flip_augment": skeleton.flip_augment,
        },
    }


def read_coco(path: Path, *, category: str | None = None) -> LabelSet:
    """The keypoints of one category; ``category`` may be left out when only one has keypoints.  Crowds are left out.

    Raises BadInputError naming the file and the object (or the line, for broken JSON).
    """
    content = _load(path)
    chosen = _choose(path, content["categories"], category)
    skeleton = _category_from_json(path, chosen)
    images = {_field(path, "image", image, "id"): image for image in content["images"]}
    labels = []
    for annotation in content["annotations"]:
        if _field(path, "annotation", annotation, "category_id") != chosen["id"] or annotation.get("iscrowd"):
            continue
        image = images.get(_field(path, "annotation", annotation, "image_id"))
        if image is None:
            raise BadInputError(f"{path}: annotation {annotation.get('id')}: there is no image {annotation['image_id']!r}")
        labels.append(_label_from_json(path, annotation, image, len(skeleton)))
    return LabelSet(skeleton, _numbered(labels))


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise BadInputError(f"{path}:{error.lineno}: no JSON ({error.msg})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read ({error})") from error
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise BadInputError(f"{path}: expected a COCO object with a list {name!r}")
    return dict(content)


def _choose(path: Path, categories: list[dict[str, Any]], name: str | None) -> dict[str, Any]:
    able = [c for c in categories if c.get("keypoints")]
    wanted = [c for c in able if name is None or c.get("name") == name]
    if len(wanted) != 1:
        known = ", ".join(repr(c.get("name")) for c in able) or "none"
        raise BadInputError(f"{path}: expected one category with keypoints{f' called {name!r}' if name else ''}, got: {known}")
    return wanted[0]


def _category_from_json(path: Path, category: dict[str, Any]) -> Skeleton:
    ours = category.get("parallax")
    names = tuple(category["keypoints"])
    edges = [(a - 1, b - 1) for a, b in category.get("skeleton", [])]
    if any(not (0 <= i < len(names)) for edge in edges for i in edge):
        raise BadInputError(f"{path}: category {category.get('name')!r}: 'skeleton' points outside 1..{len(names)}")
    try:
        if ours is None:
            return Skeleton(str(category.get("name", path.stem)), names, keypoint_forest(len(names), edges))
        pairs = tuple((a, b) for a, b in ours["pairs"])
        return Skeleton(category["name"], names, tuple(edges), ours["root"], pairs, tuple(ours["sigmas"]), ours["flip_augment"])
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error


def _label_from_json(path: Path, annotation: dict[str, Any], image: dict[str, Any], count: int) -> LabelledImage:
    where = f"{path}: annotation {annotation.get('id')}"
    try:
        table = np.array(annotation.get("keypoints"), dtype=np.float64).reshape(count, 3)
    except (TypeError, ValueError):
        raise BadInputError(f"{where}: expected {count} × 3 numbers in 'keypoints'") from None
    if not np.isin(table[:, 2], (0, 1, 2)).all() or not np.isfinite(table).all():
        raise BadInputError(f"{where}: visibility must be 0, 1 or 2 and coordinates finite")
    ours = annotation.get("parallax", {})
    state = np.array([_STATE[int(v)] for v in table[:, 2]], dtype=np.int64)
    state[np.array(ours.get("absent", []), dtype=np.int64)] = PointState.ABSENT
    xy = np.where(table[:, 2:] > 0, table[:, :2], np.nan)
    about = image.get("parallax", {})
    size = (int(image["width"]), int(image["height"])) if "width" in image and "height" in image else None
    reference = ImageRef.from_json(about["image"]) if "image" in about else ImageRef(str(image.get("file_name")), size_px=size)
    box = annotation.get("bbox")
    given = ours.get("box_given", box is not None)
    return LabelledImage(
        image=reference,
        xy_px=xy,
        state=state,
        view=about.get("view"),
        key=FrameKey(about["sequence"], about["index"]) if "sequence" in about else None,
        subject=ours.get("subject", -1),
        box_px=(float(box[0]), float(box[1]), float(box[2]), float(box[3])) if given and box else None,
    )


def _numbered(labels: list[LabelledImage]) -> tuple[LabelledImage, ...]:
    """Subjects that the file does not name are counted per picture in the order of the file."""
    count: dict[tuple[str, str | None], int] = {}
    numbered = []
    for label in labels:
        picture = (label.image.source, label.view)
        if label.subject < 0:
            label = replace(label, subject=count.get(picture, DEFAULT_SUBJECT))
        count[picture] = label.subject + 1
        numbered.append(label)
    return tuple(numbered)


def _field(path: Path, kind: str, value: dict[str, Any], name: str) -> Any:
    if name not in value:
        raise BadInputError(f"{path}: {kind} {value.get('id', '?')}: field {name!r} is missing")
    return value[name]
