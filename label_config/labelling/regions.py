"""Pose2D ⇄ the regions of a Label Studio result.

``encode`` writes predictions, ``decode`` reads what a person submitted (its rules are in ``region_decode``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from label_config.labelling.binding import Binding, ViewBinding
from label_config.labelling.box_numbers import number_word, numbered_by
from label_config.labelling.region_decode import DecodedAnnotation, decode
from label_config.labelling.region_frame import POINT_WIDTH, PointKey, Size, to_percent, to_px
from label_config.labelling.region_ids import RegionId
from label_config.values import FloatArray, PointState, Pose2D
from label_config.values.errors import LabellingConfigError

__all__ = ["DecodedAnnotation", "PointKey", "Size", "decode", "encode", "to_percent", "to_px"]


class _Points(NamedTuple):
    """A pose as lists: xy_px (V, K, 2), confidence and state (V, K).  Single elements of arrays cost several times as much."""

    xy_px: list[list[list[float]]]
    confidence: list[list[float]]
    state: list[list[int]]


def encode(
    poses: Mapping[int, Pose2D],
    binding: Binding,
    sizes_px: Mapping[str, Size],
    generation: int,
    *,
    boxes_px: Mapping[int, FloatArray] | None = None,
    numbered: bool = True,
    notes: Mapping[PointKey, str] | None = None,
) -> list[dict[str, Any]]:
    """The ``result`` of a prediction.

    poses     subject → pose; points without coordinates, and keypoints without a label in a view, are left out
    sizes_px  view → (width, height) of the picture, needed for every view with a point
    boxes_px  subject → (V, 4) left, top, width, height in the frame of the points, NaN = no box; parents of the points
              where the config has a box control
    numbered  the boxes of a subject are known to be of one in all cameras; else their label does not name a subject
    notes     text shown with a point, for example its residual

    Occluded and absent points carry the choice, or second label, that says so when the config has one.  A region must lie
    somewhere: an absent point lies in the top-left corner; where nothing can say that it is absent it is left out.
    Raises BadInputError for a pose of another shape or a missing size.
    """
    regions: list[dict[str, Any]] = []
    expected = (len(binding.views), len(binding.skeleton))
    for subject, pose in sorted(poses.items()):
        if pose.state.shape != expected:
            raise LabellingConfigError(f"pose of subject {subject}: expected {expected} (V, K), got {pose.state.shape}")
        placed: list[list[bool]] = np.asarray(np.isfinite(pose.xy_px).all(axis=-1)).tolist()
        points = _Points(pose.xy_px.tolist(), pose.confidence.tolist(), pose.state.tolist())
        for position, view in enumerate(binding.views):
            there = [
                PointState.ABSENT in view.word_of if state == PointState.ABSENT else has_place
                for state, has_place in zip(points.state[position], placed[position], strict=True)
            ]
            keypoints = [k for k in range(expected[1]) if there[k] and k in view.label_of]
            box = None if boxes_px is None or view.box is None or subject not in boxes_px else boxes_px[subject][position]
            has_box = box is not None and bool(np.isfinite(box).all())
            if not keypoints and not has_box:
                continue
            frame = _frame(view, sizes_px)
            parent = None
            if has_box and box is not None:
                parent = str(RegionId(generation, position, subject, None))
                regions.append(_box_region(parent, view, frame, box, _box_label(view, subject, numbered=numbered)))
            for k in keypoints:
                name = str(RegionId(generation, position, subject, k))
                note = (notes or {}).get((subject, position, k))
                regions.extend(_point_regions(name, view, frame, points, position, k, parent, note))
    return regions


def _frame(view: ViewBinding, sizes_px: Mapping[str, Size]) -> dict[str, Any]:
    """The fields that every region of a view has."""
    if view.view not in sizes_px:
        raise LabellingConfigError(
            f"view {view.view!r}: expected the size of its picture, got sizes for {', '.join(sizes_px) or 'none'}"
        )
    width, height = sizes_px[view.view]
    return {"to_name": view.image, "original_width": width, "original_height": height, "image_rotation": 0}


def _point_regions(
    name: str,
    view: ViewBinding,
    frame: Mapping[str, Any],
    points: _Points,
    position: int,
    k: int,
    parent: str | None,
    note: str | None,
) -> list[dict[str, Any]]:
    state = PointState(points.state[position][k])
    place = {"x": 0.0, "y": 0.0, "width": POINT_WIDTH}
    if state is not PointState.ABSENT:
        x, y = points.xy_px[position][k]
        place |= {"x": to_percent(x, frame["original_width"]), "y": to_percent(y, frame["original_height"])}
    label = view.label_of[k]
    value = {**place, "keypointlabels": [label.word]}
    point = {"id": name, "type": label.type, "from_name": label.control, **frame, "value": value}
    confidence = points.confidence[position][k]
    if math.isfinite(confidence):
        point["score"] = min(max(confidence, 0.0), 1.0)
    if parent is not None:
        point["parentID"] = parent
    if note:
        point["meta"] = {"text": [note]}
    said = view.word_of.get(state) if state in (PointState.OCCLUDED, PointState.ABSENT) else None
    if said is None:
        return [point]
    if said.control == label.control:
        value["keypointlabels"] = [label.word, said.word]
        return [point]
    choice = {**place, said.type: [said.word]}
    return [point, {"id": name, "type": said.type, "from_name": said.control, **frame, "value": choice}]


def _box_label(view: ViewBinding, subject: int, *, numbered: bool) -> str:
    """The subject's number where the config has it, else a label that names nobody, else the first."""
    word = number_word(subject)
    if numbered and word in view.box_labels:
        return word
    return next((label for label in view.box_labels if numbered_by([label]) is None), view.box_labels[0])


def _box_region(name: str, view: ViewBinding, frame: Mapping[str, Any], box_px: FloatArray, label: str) -> dict[str, Any]:
    x, y, width, height = (float(value) for value in box_px)
    left, right = (to_percent(edge, frame["original_width"]) for edge in (x, x + width))
    top, bottom = (to_percent(edge, frame["original_height"]) for edge in (y, y + height))
    place = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}
    value = {**place, "rectanglelabels": [label]}
    return {"id": name, "type": "rectanglelabels", "from_name": view.box, **frame, "value": value}
