"""Object keypoint similarity and the average precision built on it, as COCO defines them.

COCO's area is that of the segmentation; most data sets have only boxes or keypoints.  The source changes the figure,
so it travels with it: ``seg``, ``bbox`` (width × height), ``0.53 bbox`` (the usual share of a person in its box).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray
from label_config.values.masked import masked_mean

AreaSource = Literal["seg", "bbox", "0.53 bbox"]

#: COCO's thresholds 0.50, 0.55 … 0.95.
THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
_RECALL_GRID = np.linspace(0.0, 1.0, 101)
_COCO_EPS = float(np.spacing(1))


def area_from_box(width: FloatArray | float, height: FloatArray | float, source: AreaSource) -> FloatArray:
    """The area in px² that stands in for a segmentation, (...) from widths and heights (...)."""
    if source not in get_args(AreaSource) or source == "seg":
        raise BadInputError(f"area from a box: expected 'bbox' or '0.53 bbox', got {source!r}")
    return np.asarray(width * np.asarray(height) * (0.53 if source == "0.53 bbox" else 1.0))


def pose_score(confidence: FloatArray) -> FloatArray:
    """(...) score of a pose from confidences (..., K): mean + 1.25 · largest (VATL4Pose's rule).  NaN counts as 0."""
    known = np.nan_to_num(confidence, nan=0.0)
    return np.asarray(known.mean(axis=-1) + 1.25 * known.max(axis=-1))


def oks(xy_px: FloatArray, truth_px: FloatArray, visible: BoolArray, area_px2: FloatArray, sigmas: FloatArray) -> FloatArray:
    """Similarity (...) in [0, 1] of poses (..., K, 2): mean over visible of exp(−d² / (2 · area · (2σ)²)).

    A visible keypoint without a predicted position (NaN) counts 0.  NaN without a visible keypoint or with an area
    that is not positive.  All arguments broadcast over the leading axes.
    """
    distance2 = ((xy_px - truth_px) ** 2).sum(axis=-1)
    area = np.asarray(area_px2, dtype=np.float64)
    spread = np.where(area > 0, area, np.nan)[..., None] * (2 * np.asarray(sigmas)) ** 2
    term = np.where(visible, np.exp(-distance2 / (2 * spread)), 0.0)
    lost = visible & np.isnan(distance2) & np.isfinite(spread)
    count = np.broadcast_to(visible, term.shape).sum(axis=-1)
    total = np.where(lost, 0.0, term).sum(axis=-1)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def labelled_area(xy_px: FloatArray, labelled: BoolArray, source: AreaSource = "bbox") -> FloatArray:
    """(...) area in px² of the box around the labelled points of (..., K, 2); 0 where fewer than two, or all in a row."""
    several = labelled.sum(axis=-1) > 1
    low = np.where(labelled[..., None], xy_px, np.inf).min(axis=-2, initial=np.inf)
    high = np.where(labelled[..., None], xy_px, -np.inf).max(axis=-2, initial=-np.inf)
    side = np.where(several[..., None], high, 0.0) - np.where(several[..., None], low, 0.0)
    return area_from_box(side[..., 0], side[..., 1], source)


def pose_oks(
    predicted_px: FloatArray, xy_px: FloatArray, labelled: BoolArray, sigmas: FloatArray, box_px: FloatArray | None = None
) -> FloatArray:
    """(..., V, K, 2) predictions and labels, (..., V, K) where labels stand → (...) OKS, mean over views with an area.

    box_px  (..., V, 4) x, y, width, height of the subject, NaN = not known; None = nowhere

    The area is that of the subject's box, else that of the box around the labelled points.  NaN where no view has one.
    """
    area = labelled_area(xy_px, labelled)
    if box_px is not None:
        known = np.isfinite(box_px).all(axis=-1)
        area = np.where(known, area_from_box(box_px[..., 2], box_px[..., 3], "bbox"), area)
    return masked_mean(oks(predicted_px, xy_px, labelled, area, sigmas), axis=-1)[0]


@dataclass(frozen=True)
class Truth:
    """One labelled subject.

    xy_px (K, 2); visible (K,) bool; area_px2; box_px (x, y, width, height), needed only without a visible keypoint;
    crowd: a group that may absorb any number of detections and demands none
    """

    image: str
    xy_px: FloatArray
    visible: BoolArray
    area_px2: float
    box_px: tuple[float, float, float, float] | None = None
    crowd: bool = False

    @property
    def ignored(self) -> bool:
        """Asks for no detection."""
        return self.crowd or not self.visible.any()


@dataclass(frozen=True)
class Detection:
    """One predicted subject: xy_px (K, 2) and its score."""

    image: str
    xy_px: FloatArray
    score: float


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's summary.

    ap       mean over the thresholds, NaN without a subject to find
    ar       mean over the thresholds of the largest recall
    at       threshold → average precision at it, e.g. ``at[0.6]``
    recall   threshold → largest recall
    subjects number of subjects to find
    """

    ap: float
    ar: float
    at: dict[float, float]
    recall: dict[float, float]
    subjects: int
    area_source: AreaSource


def average_precision(
    truths: Sequence[Truth],
    detections: Sequence[Detection],
    sigmas: FloatArray,
    *,
    area_source: AreaSource,
    thresholds: Sequence[float] = THRESHOLDS,
    per_image: int = 20,
) -> AveragePrecision:
    """Greedy matching per image from the highest score, then 101-point interpolated precision over all images."""
    images = sorted({t.image for t in truths} | {d.image for d in detections})
    truths_of: dict[str, list[Truth]] = {image: [] for image in images}
    detections_of: dict[str, list[Detection]] = {image: [] for image in images}
    for truth in truths:
        truths_of[truth.image].append(truth)
    for detection in detections:
        detections_of[detection.image].append(detection)
    limits = np.asarray(thresholds, dtype=np.float64)
    scores: list[FloatArray] = [np.zeros(0)]
    hits: list[BoolArray] = [np.zeros((len(limits), 0), np.bool_)]
    skips: list[BoolArray] = [np.zeros((len(limits), 0), np.bool_)]
    for image in images:
        wanted = sorted(truths_of[image], key=lambda t: t.ignored)
        found = sorted(detections_of[image], key=lambda d: -d.score)[:per_image]
        match = _match(_similarities(found, wanted, sigmas), wanted, limits)
        ignored = np.array([t.ignored for t in wanted] + [False])
        scores.append(np.array([d.score for d in found], dtype=np.float64))
        hits.append((match >= 0) & ~ignored[match])
        skips.append((match >= 0) & ignored[match])
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hit, skip = np.concatenate(hits, axis=1)[:, order], np.concatenate(skips, axis=1)[:, order]
    subjects = sum(not t.ignored for t in truths)
    curves = [_interpolated(h, s, subjects) for h, s in zip(hit, skip, strict=True)]
    precision, recall = np.array([c[0] for c in curves]), np.array([c[1] for c in curves])
    keys = [float(t) for t in thresholds]
    return AveragePrecision(
        ap=float(precision.mean()),
        ar=float(recall.mean()),
        at=dict(zip(keys, precision.tolist(), strict=True)),
        recall=dict(zip(keys, recall.tolist(), strict=True)),
        subjects=subjects,
        area_source=area_source,
    )


def _similarities(found: Sequence[Detection], wanted: Sequence[Truth], sigmas: FloatArray) -> FloatArray:
    """(detections, truths) similarity; by COCO's rule of the tripled box for a truth without a visible keypoint."""
    table = np.zeros((len(found), len(wanted)))
    if not found or not wanted:
        return table
    predicted = np.stack([d.xy_px for d in found])
    for column, truth in enumerate(wanted):
        if truth.visible.any():
            area = np.array(truth.area_px2 + _COCO_EPS)
            table[:, column] = oks(predicted, truth.xy_px, truth.visible, area, sigmas)
        elif truth.box_px is not None:
            x, y, w, h = truth.box_px
            low, high = np.array([x - w, y - h]), np.array([x + 2 * w, y + 2 * h])
            outside = np.maximum(low - predicted, 0) + np.maximum(predicted - high, 0)
            spread = 2 * (truth.area_px2 + _COCO_EPS) * (2 * np.asarray(sigmas)) ** 2
            table[:, column] = np.exp(-(outside**2).sum(axis=-1) / spread).mean(axis=-1)
    return np.nan_to_num(table, nan=0.0)


def _match(similarity: FloatArray, wanted: Sequence[Truth], limits: FloatArray) -> IntArray:
    """(thresholds, detections) index of the truth that each detection takes, −1 for none.  Truths: ignored ones last."""
    match = np.full((len(limits), similarity.shape[0]), -1, dtype=np.int64)
    for row, limit in enumerate(limits):
        taken = np.zeros(len(wanted), dtype=np.bool_)
        for d, values in enumerate(similarity):
            best, at = min(limit, 1 - 1e-10), -1
            for g, truth in enumerate(wanted):
                if taken[g] and not truth.crowd:
                    continue
                if at >= 0 and not wanted[at].ignored and truth.ignored:
                    break
                if values[g] >= best:
                    best, at = values[g], g
            if at >= 0:
                match[row, d], taken[at] = at, True
    return match


def _interpolated(hit: BoolArray, skip: BoolArray, subjects: int) -> tuple[float, float]:
    """Average precision and largest recall of detections in order of score."""
    if subjects == 0:
        return float("nan"), float("nan")
    right = np.cumsum(hit)
    wrong = np.cumsum(~hit & ~skip)
    if not len(right):
        return 0.0, 0.0
    recall = right / subjects
    precision = np.maximum.accumulate((right / (right + wrong + _COCO_EPS))[::-1])[::-1]
    at = np.searchsorted(recall, _RECALL_GRID, side="left")
    sampled = np.where(at < len(precision), precision[np.minimum(at, len(precision) - 1)], 0.0)
    return float(sampled.mean()), float(recall[-1])
