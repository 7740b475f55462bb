"""A label that is added later becomes a keypoint: the next model learns and predicts it, whatever the one before knew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.values import PointState, Pose2D, Provenance
from label_config.values.skeleton import Skeleton
from ml_backend.project.new_binding import take_over_binding
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import generations, presence, submissions, versions, work
from ml_backend.store.workspace import Workspace


def add_tail(workspace: Workspace, studio: CaptureStudio) -> None:
    """What `parallax init` and the pull after it do: a new binding, and every label read again, now with a tail in some."""
    skeleton = Skeleton("studio", (*studio.skeleton.keypoints, "tail"))
    binding = bind(build_label_config(skeleton, studio.rig.names), skeleton)
    held = submissions.list_annotations(workspace.store)
    take_over_binding(workspace, binding)
    rows: list[dict[str, Any]] = []
    for n, row in enumerate(held):
        pose = Pose2D.from_json(row.poses["0"])
        tail = pose.xy_px[:, :1] + [4.0, 4.0]
        there = np.full(tail.shape[:2], n % 2 == 0)
        with_tail = Pose2D(
            np.concatenate([pose.xy_px, np.where(there[..., None], tail, np.nan)], axis=1),
            np.concatenate([pose.confidence, np.where(there, 1.0, np.nan)], axis=1),
            np.concatenate([pose.state, np.where(there, PointState.VISIBLE, PointState.UNLABELLED)], axis=1),
            np.concatenate([pose.provenance, np.where(there, Provenance.PLACED, Provenance.NONE)], axis=1),
        )
        read = {"ls_annotation_id": row.ls_annotation_id, "task_id": row.task_id, "updated_at": row.updated_at}
        poses = {"0": with_tail.to_json()}
        counts: dict[str, Any] = {
            "person": row.person,
            "cancelled": False,
            "problems": [],
            "round": row.round,
            "seen_at": row.seen_at,
        }
        rows.append({**read, "poses": poses, **counts})
    submissions.save(workspace.store, rows)


def test_the_next_model_learns_and_predicts_it(
    make_workspace: Callable[..., Workspace],
    label: Callable[..., None],
    work_off: Callable[[Workspace], list[str]],
    studio: CaptureStudio,
) -> None:
    workspace = make_workspace(gate={"min_frames": 2})
    label(workspace, [0, 8, 16, 24, 32, 36, 39])
    work.request(workspace.store, "retrain")
    work_off(workspace)
    add_tail(workspace, studio)
    work.request(workspace.store, "retrain")
    done = work_off(workspace)
    events = [event.text for event in presence.list_events(workspace.store)]
    assert done[-1] == "select", events
    live = versions.live(workspace.store)
    assert live is not None
    assert live.number == 2, events
    generation = generations.list_generations(workspace.store)[-1]
    assert generation.version_id == live.id
    picks = generations.list_picks(workspace.store, generation.number)
    shown = np.stack([Pose2D.from_json(pick.poses["0"]).xy_px for pick in picks if pick.poses])
    assert shown.shape[2] == len(studio.skeleton) + 1
    assert np.isfinite(shown[:, :, -1]).any()
