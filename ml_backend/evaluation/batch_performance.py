"""G: how good the model was on the last batch that people labelled, before it had seen it (docs/methods.md §3.3)."""

from __future__ import annotations

import math

import numpy as np

from label_config.values import DEFAULT_SUBJECT, Pose2D
from ml_backend.acquisition.features import pose_size_px
from ml_backend.store import generations, submissions, versions
from ml_backend.store.workspace import Workspace

#: A point counts as right within this share of the subject's size (PCK).
PCK_ALPHA = 0.05


def last_batch_performance(workspace: Workspace) -> float:
    """Share of the shown points of the last round that lay where people then put them; NaN when nothing was shown yet."""
    last = versions.current_round(workspace.store) - 1
    right = total = 0
    for row in submissions.list_annotations(workspace.store):
        subject = str(DEFAULT_SUBJECT)
        if row.round != last or row.shown_generation is None or subject not in row.poses:
            continue
        pick = generations.pick_of(workspace.store, row.shown_generation, row.frame_id)
        if pick is None or subject not in pick.poses:
            continue
        shown, said = Pose2D.from_json(pick.poses[subject]), Pose2D.from_json(row.poses[subject])
        if shown.state.shape != said.state.shape:
            continue
        distance = np.linalg.norm(shown.xy_px - said.xy_px, axis=-1)
        limit = PCK_ALPHA * pose_size_px(said.xy_px)[:, None]
        known = np.isfinite(distance) & np.isfinite(limit)
        right += int((distance[known] <= np.broadcast_to(limit, distance.shape)[known]).sum())
        total += int(known.sum())
    return right / total if total else math.nan
