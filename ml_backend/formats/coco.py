"""COCO keypoints, lossless.

Visibility 2 = visible, 1 = occluded but placed, 0 = everything else.  What COCO has no word for (absent points, subject,
view, instant, exact skeleton) travels in a field ``parallax`` of each object, which other readers ignore.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from label_config.values import DEFAULT_SUBJECT, BadInputError, FloatArray, FrameKey, ImageRef, PointState
from label_config.values.errors import LabelFileError
from label_config.values.refusing import refusing
from label_config.values.skeleton import Skeleton
from ml_backend.formats.json_file import load_json
from ml_backend.formats.label_records import LabelledImage, LabelSet, keypoint_forest
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
        **({"people": list(label.people)} if label.people else {}),
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


Visibility = Literal["auto", "ternary", "binary"]


def read_coco(path: Path, *, category: str | None = None, visibility: Visibility = "auto") -> LabelSet:
    """The keypoints of one category; ``category`` may be left out when only one has keypoints.  Crowds are left out.

    visibility  "ternary": 0 not labelled, 1 occluded, 2 visible, as COCO has it; "binary": 1 is visible, as PoseTrack and
                Human3.6M have it; "auto": binary when no annotation of another tool has a 2, with a note

    Raises BadInputError naming the file and the object (or the line, for broken JSON).
    """
    content = load_json(path)
    with refusing(LabelFileError, f"{path}: expected a COCO object; one of its values is of another kind"):
        for name in ("images", "annotations", "categories"):
            if not isinstance(content, dict) or not isinstance(content.get(name), list):
                raise LabelFileError(f"{path}: expected a COCO object with a list {name!r}")
        return _labels_from_json(path, content, category, visibility)


def _labels_from_json(path: Path, content: dict[str, Any], category: str | None, visibility: Visibility) -> LabelSet:
    chosen = _choose(path, content["categories"], category)
    skeleton, notes = _category_from_json(path, chosen)
    images: dict[Any, dict[str, Any]] = {}
    for image in content["images"]:
        if images.setdefault(_field(path, "image", image, "id"), image) is not image:
            raise LabelFileError(f"{path}: two images have the id {image['id']!r}")
    found = []
    for annotation in content["annotations"]:
        if _field(path, "annotation", annotation, "category_id") != chosen["id"] or annotation.get("iscrowd"):
            continue
        if _field(path, "annotation", annotation, "image_id") not in images:
            raise LabelFileError(f"{path}: annotation {annotation.get('id')}: there is no image {annotation['image_id']!r}")
        found.append(annotation)
    tables = [_table(path, annotation, len(skeleton)) for annotation in found]
    ours = bool(found) and all("parallax" in annotation for annotation in found)
    binary = visibility == "binary" or (visibility == "auto" and not ours and _looks_binary(tables))
    if binary:
        tables = [None if t is None else np.where([False, False, True], 2 * t, t) for t in tables]
        if visibility == "auto":
            notes.append("no visibility is 2: 1 was read as visible, not as occluded (visibility: ternary reads it as COCO says)")
    notes += _left_out(found, tables)
    subject_of = _subjects(found)
    labels = [
        _label(path, annotation, images[annotation["image_id"]], table, subject_of.get(id(annotation), -1))
        for annotation, table in zip(found, tables, strict=True)
        if table is not None and ("parallax" in annotation or (table[:, 2] > 0).any())
    ]
    return LabelSet(skeleton, _numbered(labels), tuple(notes))


def _choose(path: Path, categories: list[dict[str, Any]], name: str | None) -> dict[str, Any]:
    able = [c for c in categories if c.get("keypoints")]
    wanted = [c for c in able if name is None or c.get("name") == name]
    if len(wanted) != 1:
        known = ", ".join(repr(c.get("name")) for c in able) or "none"
        raise LabelFileError(f"{path}: expected one category with keypoints{f' called {name!r}' if name else ''}, got: {known}")
    return wanted[0]


def _category_from_json(path: Path, category: dict[str, Any]) -> tuple[Skeleton, list[str]]:
    ours = category.get("parallax")
    names = tuple(map(str, category["keypoints"]))
    edges = [(int(a), int(b)) for a, b in category.get("skeleton") or []]
    base = 0 if any(0 in edge for edge in edges) else 1
    notes = [] if base else ["the skeleton's edges count from 0, where COCO counts from 1"]
    edges = [(a - base, b - base) for a, b in edges]
    if any(not (0 <= i < len(names)) for edge in edges for i in edge):
        raise LabelFileError(
            f"{path}: category {category.get('name')!r}: 'skeleton' points outside {base}..{len(names) - 1 + base}"
        )
    try:
        if ours is None:
            return Skeleton(str(category.get("name", path.stem)), names, keypoint_forest(len(names), edges)), notes
        pairs = tuple((a, b) for a, b in ours["pairs"])
        whole = Skeleton(category["name"], names, tuple(edges), ours["root"], pairs, tuple(ours["sigmas"]), ours["flip_augment"])
        return whole, notes
    except BadInputError as error:
        raise LabelFileError(f"{path}: {error}") from error


def _table(path: Path, annotation: dict[str, Any], count: int) -> FloatArray | None:
    """(K, 3) x, y, visibility; None for an annotation without keypoints."""
    where = f"{path}: annotation {annotation.get('id')}"
    given = annotation.get("keypoints")
    if not given:
        return None
    try:
        table = np.array(given, dtype=np.float64).reshape(count, 3)
    except (TypeError, ValueError, OverflowError):
        raise LabelFileError(f"{where}: expected {count} × 3 numbers in 'keypoints'") from None
    # Points that are not labelled may say so by any coordinates, or none.
    table[np.isnan(table).all(axis=1), 2] = 0.0
    if not np.isin(table[:, 2], (0, 1, 2)).all() or not np.isfinite(table[table[:, 2] > 0]).all():
        raise LabelFileError(f"{where}: visibility must be 0, 1 or 2 and coordinates of placed points finite")
    return table


def _looks_binary(tables: list[FloatArray | None]) -> bool:
    seen = {float(v) for table in tables if table is not None for v in np.unique(table[:, 2])}
    return 1.0 in seen and 2.0 not in seen


def _left_out(found: list[dict[str, Any]], tables: list[FloatArray | None]) -> list[str]:
    notes = []
    empty = sum(
        "parallax" not in annotation and (table is None or not (table[:, 2] > 0).any())
        for annotation, table in zip(found, tables, strict=True)
    )
    hidden = sum(
        int(((t[:, 2] == 0) & np.isfinite(t[:, :2]).all(axis=1) & (t[:, :2] != 0).any(axis=1)).sum())
        for t in tables
        if t is not None
    )
    if empty:
        notes.append(f"{empty} annotations without a labelled keypoint are left out")
    if hidden:
        notes.append(f"{hidden} points have coordinates but visibility 0: they count as not labelled")
    return notes


def _subjects(found: list[dict[str, Any]]) -> dict[int, int]:
    """By ``id()`` of the annotation: subjects keep their track number where every annotation has one."""
    tracks = [annotation.get("track_id") for annotation in found]
    if any(track is None for track in tracks):
        return {}
    number = {track: i for i, track in enumerate(dict.fromkeys(tracks))}
    return {id(annotation): number[track] for annotation, track in zip(found, tracks, strict=True)}


def _label(path: Path, annotation: dict[str, Any], image: dict[str, Any], table: FloatArray, subject: int) -> LabelledImage:
    ours = annotation.get("parallax", {})
    state = np.array([_STATE[int(v)] for v in table[:, 2]], dtype=np.int64)
    state[np.array(ours.get("absent", []), dtype=np.int64)] = PointState.ABSENT
    about = image.get("parallax", {})
    size = (int(image["width"]), int(image["height"])) if image.get("width") and image.get("height") else None
    name = str(_field(path, "image", image, "file_name")).replace("\\", "/")
    box = annotation.get("bbox")
    given = ours.get("box_given", box is not None)
    return LabelledImage(
        image=ImageRef.from_json(about["image"]) if "image" in about else ImageRef(name, size_px=size),
        xy_px=np.where(table[:, 2:] > 0, table[:, :2], np.nan),
        state=state,
        view=about.get("view"),
        key=FrameKey(about["sequence"], int(about["index"])) if "sequence" in about else None,
        subject=int(ours.get("subject", subject)),
        box_px=(float(box[0]), float(box[1]), float(box[2]), float(box[3])) if given and box else None,
        people=tuple(map(str, ours.get("people", ()))),
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
        raise LabelFileError(f"{path}: {kind} {value.get('id', '?')}: field {name!r} is missing")
    return value[name]
