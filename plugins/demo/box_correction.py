"""What the oracle does with boxes of several subjects: recognises whose each is, corrects numbers, draws what is missing."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from label_config.labelling.box_numbers import BOX_LABEL, number_word, numbered_by
from label_config.labelling.region_frame import to_percent, to_px
from label_config.values import FloatArray
from ml_backend.geometry.assignment import best_pairs

#: A box that overlaps with a figure by less than this (intersection over union) is not taken for the figure's.
LEAST_OVERLAP = 0.3
ROOM_PX = 4.0

Size = tuple[int, int]


def find_boxes(
    regions: Sequence[dict[str, Any]], truth_px: FloatArray, views: Sequence[str], sizes: Mapping[str, Size]
) -> dict[tuple[int, int], dict[str, Any]]:
    """(figure, view) → the shown box that is its own, from what is true (S, V, K, 2); boxes of nobody are left out."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for v, view in enumerate(views):
        shown = [region for region in regions if region["type"] == "rectanglelabels" and region["to_name"] == view]
        boxes = np.array([_edges(region["value"], sizes[view]) for region in shown]).reshape(-1, 4)
        wanted = np.array([_around(points, sizes[view]) for points in truth_px[:, v]])
        overlap = _overlap(wanted, boxes)
        for s, i in best_pairs(overlap):
            if overlap[s, i] >= LEAST_OVERLAP:
                found[s, v] = shown[i]
    return found


def agreed_numbers(boxes: Mapping[tuple[int, int], dict[str, Any]], figures: int) -> dict[int, int]:
    """Figure → the number that most of its boxes carry, different ones for different figures; {} when no box carries any."""
    votes = np.zeros((figures, figures))
    for (figure, _), region in boxes.items():
        number = numbered_by(region["value"]["rectanglelabels"])
        if number is not None and number < figures:
            votes[figure, number] += 1
    if not votes.any():
        return {}
    return dict(best_pairs(votes))


def box_region(view: str, size: Size, shown: dict[str, Any] | None, number: int | None, around_px: FloatArray) -> dict[str, Any]:
    """The box that is submitted: the shown one, with the right number, or one drawn around the points."""
    label = BOX_LABEL if number is None else number_word(number)
    if shown is not None:
        same = shown["value"]["rectanglelabels"] == [label]
        value = {**shown["value"], "rectanglelabels": [label]}
        return {**shown, "value": value, "origin": "prediction" if same else "prediction-changed"}
    left, top, right, bottom = _around(around_px, size)
    x, y = to_percent(left, size[0]), to_percent(top, size[1])
    place = {"x": x, "y": y, "width": to_percent(right, size[0]) - x, "height": to_percent(bottom, size[1]) - y, "rotation": 0}
    region = {"id": secrets.token_urlsafe(7), "type": "rectanglelabels", "from_name": f"box_{view}", "to_name": view}
    picture = {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
    return {**region, **picture, "origin": "manual", "value": {**place, "rectanglelabels": [label]}}


def _edges(value: Mapping[str, Any], size: Size) -> list[float]:
    ends = (value["x"], value["y"], value["x"] + value["width"], value["y"] + value["height"])
    return [to_px(end, size[i % 2]) for i, end in enumerate(ends)]


def _around(points: FloatArray, size: Size) -> list[float]:
    """Edges around what of the points (K, 2) is in the picture; NaN where nothing is."""
    inside = points[((points >= 0) & (points < size)).all(axis=-1)]
    if not len(inside):
        return [np.nan] * 4
    low, high = np.maximum(inside.min(axis=0) - ROOM_PX, 0.0), np.minimum(inside.max(axis=0) + ROOM_PX, np.array(size) - 1.0)
    return [*low.tolist(), *high.tolist()]


def _overlap(first: FloatArray, second: FloatArray) -> FloatArray:
    """(S, n) intersection over union of edges (S, 4) and (n, 4); 0 for NaN."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.clip(high - low, 0.0, None).prod(axis=-1)
    areas = [(edges[:, 2:] - edges[:, :2]).prod(axis=-1) for edges in (first, second)]
    union = areas[0][:, None] + areas[1][None] - both
    return np.asarray(np.nan_to_num(both / np.maximum(union, 1e-9)))
