"""G: how good the model was on the last batch, before it was trained on it (docs/methods.md §3.3)."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from label_config.values import DEFAULT_SUBJECT, FloatArray, Pose2D
from ml_backend.metrics.oks import pose_oks
from ml_backend.project.label_snapshot import known_boxes
from ml_backend.project.round_state import RoundState
from ml_backend.project.scored_shards import predicted_points
from ml_backend.store import generations
from ml_backend.store.generations import Generation
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.workspace import Workspace


@dataclass(frozen=True)
class BatchPerformance:
    """Mean OKS of the predictions of the model that chose a batch against the labels that people gave it.

    oks     in [0, 1]; NaN when no model chose the batch, as in the first round
    frames  that it rests on
    areas   rules by which OKS got the subject's area
    """

    oks: float = math.nan
    frames: int = 0
    areas: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.frames:
            return "G is not known yet (taken as 0): no labelled frame was chosen by a model"
        return f"G = {self.oks:.3f}, mean OKS of the last batch ({self.frames} frames; area: {', '.join(self.areas)})"


def last_batch_performance(state: RoundState) -> BatchPerformance:
    """G of the last round that has labels: random picks included, on the network's own points, whatever annotators were shown."""
    workspace = state.workspace
    earlier = [row for row in state.annotations if row.round < state.round and row.frame_id not in state.of_several]
    last = max((row.round for row in earlier), default=0)
    rows = [row for row in earlier if row.round == last and str(DEFAULT_SUBJECT) in row.poses]
    orders = [order for order in generations.list_generations(workspace.store) if order.version_id is not None]
    by_version: dict[int, list[AnnotationRow]] = defaultdict(list)
    for row in rows:
        version = _chosen_by(workspace, orders, row)
        if version is not None:
            by_version[version].append(row)
    similar: dict[int, list[float]] = defaultdict(list)
    areas: set[str] = set()
    for version, mine in by_version.items():
        predicted = predicted_points(workspace, version, {row.frame_id for row in mine}, state.round)
        for row in mine:
            value, area = _similarity(state, row, predicted.get(row.frame_id))
            if math.isfinite(value):
                similar[row.frame_id].append(value)
                areas.add(area)
    if not similar:
        return BatchPerformance()
    return BatchPerformance(float(np.mean([np.mean(of) for of in similar.values()])), len(similar), tuple(sorted(areas)))


def _chosen_by(workspace: Workspace, orders: list[Generation], row: AnnotationRow) -> int | None:
    """The version whose order asked for the label; None for frames that no model chose.

    The order whose points were shown, else the last one that was served before the label was seen.
    """
    if row.shown_generation is not None:
        served = [order for order in orders if order.number == row.shown_generation]
    else:
        served = [order for order in reversed(orders) if order.switched_at is not None and order.switched_at <= row.seen_at]
    for order in served:
        pick = generations.pick_of(workspace.store, order.number, row.frame_id)
        if pick is not None:
            return None if pick.pseudo or not pick.in_window else order.version_id
    return None


def _similarity(state: RoundState, row: AnnotationRow, predicted: FloatArray | None) -> tuple[float, str]:
    """OKS, mean over the views, and where the area comes from; NaN when the two cannot be compared."""
    label = Pose2D.from_json(row.poses[str(DEFAULT_SUBJECT)])
    if predicted is None or predicted.shape != label.xy_px.shape:
        return math.nan, ""
    box = known_boxes(state, [state.frames[row.frame_id]], [row])[0]
    sigmas = np.array(state.binding.skeleton.sigmas)
    area = "the subject's box" if np.isfinite(box).all(axis=-1).any() else "the box around the labelled points"
    return float(pose_oks(predicted, label.xy_px, label.placed, sigmas, box)), area
