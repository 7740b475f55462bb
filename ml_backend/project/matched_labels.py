"""Labels of subjects that nobody numbered: which points in different cameras are of one subject, by geometry."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from label_config.values import FloatArray, IntArray, PointState, Pose2D, Provenance
from ml_backend.geometry.assignment import best_pairs
from ml_backend.geometry.association import associate
from ml_backend.geometry.cameras import Rig

#: A number that somebody gave outweighs any count of numbers that mean nothing.
_GIVEN = 1000.0


@dataclass(frozen=True)
class MatchedLabels:
    """Poses and boxes under their new numbers; ``changed``: some points belong to another subject than their number said."""

    poses: dict[int, Pose2D]
    boxes_px: dict[int, FloatArray]
    changed: bool


def match_labels(
    poses: Mapping[int, Pose2D], boxes_px: Mapping[int, FloatArray], unnumbered: Collection[int], rig: Rig
) -> MatchedLabels:
    """Match what people labelled across the cameras of ``rig``.

    poses, boxes_px  subject → pose, and (V, 4) boxes, as they are numbered now
    unnumbered       subjects whose number means nothing: in every camera somebody else may stand under it
    """
    subjects = sorted({*poses, *boxes_px})
    xy = np.stack([placed_points(poses[s]) if s in poses else np.full((len(rig), 1, 2), np.nan) for s in sorted(poses)])
    cluster = associate(rig, xy[None])[0].subject
    given = np.array([subject not in unnumbered for subject in sorted(poses)])
    number = _numbers(cluster, np.array(sorted(poses), dtype=np.int64), given)
    target = {s: np.full(len(rig), s, dtype=np.int64) for s in subjects}
    for row, subject in enumerate(sorted(poses)):
        if subject in unnumbered:
            seen = cluster[row] >= 0
            target[subject][seen] = number[cluster[row][seen]]
    changed = any((of != subject).any() for subject, of in target.items())
    return MatchedLabels(_poses(poses, target), _boxes(boxes_px, target), changed)


def placed_points(pose: Pose2D) -> FloatArray:
    """(V, K, 2) what is placed and not absent, NaN elsewhere."""
    placed = pose.placed & np.isin(pose.state, (PointState.VISIBLE, PointState.OCCLUDED))
    return np.where(placed[..., None], pose.xy_px, np.nan)


def _numbers(cluster: IntArray, subjects: IntArray, given: IntArray) -> IntArray:
    """(C,) the number of each cluster: what somebody said, else what most of its instances (S, V) had."""
    count = int(cluster.max(initial=-1)) + 1
    most = max(int(subjects.max()) + 1, count)
    votes = np.zeros((count, most))
    for row, of_views in enumerate(cluster):
        for one in of_views[of_views >= 0].tolist():
            votes[one, subjects[row]] += _GIVEN if given[row] else 1.0
    number = np.full(count, -1, dtype=np.int64)
    for one, subject in best_pairs(votes):
        number[one] = subject
    return number


def _poses(poses: Mapping[int, Pose2D], target: Mapping[int, IntArray]) -> dict[int, Pose2D]:
    found: dict[int, Pose2D] = {}
    for subject, pose in poses.items():
        said = pose.state != PointState.UNLABELLED
        for view in np.flatnonzero(said.any(axis=1)).tolist():
            into = found.setdefault(int(target[subject][view]), Pose2D.empty(*pose.state.shape))
            free = said[view] & (into.provenance[view] == Provenance.NONE)
            for name in ("xy_px", "confidence", "state", "provenance"):
                getattr(into, name)[view][free] = getattr(pose, name)[view][free]
    return dict(sorted(found.items()))


def _boxes(boxes_px: Mapping[int, FloatArray], target: Mapping[int, IntArray]) -> dict[int, FloatArray]:
    found: dict[int, FloatArray] = {}
    for subject, of_views in boxes_px.items():
        for view in np.flatnonzero(np.isfinite(of_views).all(axis=1)).tolist():
            found.setdefault(int(target[subject][view]), np.full(of_views.shape, np.nan))[view] = of_views[view]
    return dict(sorted(found.items()))
