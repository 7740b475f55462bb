"""A frame in which people labelled several subjects never passes for one with a single subject."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from label_config.values import Pose2D, Triangulation
from ml_backend.jobs.self_training import propose_pseudo
from ml_backend.project.label_snapshot import collect, pseudo_in_force
from ml_backend.project.round_state import RoundState
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, pseudo_labels, submissions
from ml_backend.store.workspace import Workspace
from plugins.cli.overview import overview

Make = Callable[..., Workspace]
Label = Callable[..., None]


def add_a_second(workspace: Workspace, index: int) -> None:
    """As when somebody labels the other animal too: the same annotation, submitted again."""
    row = next(row for row in submissions.list_annotations(workspace.store) if row.frame_id == frames_of(workspace)[index])
    first = Pose2D.from_json(row.poses["0"])
    other = Pose2D(first.xy_px + 20.0, first.confidence, first.state, first.provenance)
    same = ("ls_annotation_id", "task_id", "person", "cancelled", "round")
    fields: dict[str, Any] = {name: getattr(row, name) for name in same}
    poses = {**row.poses, "1": other.to_json()}
    later = {"updated_at": "2026-01-02T00:00:00.000000Z", "poses": poses, "problems": [], "seen_at": 2.0}
    submissions.save(workspace.store, [{**fields, **later}])


def frames_of(workspace: Workspace) -> list[int]:
    return [row.id for row in frames.list_frames(workspace.store)]


def exact(studio: CaptureStudio) -> Triangulation:
    shape = (studio.n_frames, studio.n_views, len(studio.skeleton))
    flat = (shape[0], shape[2])
    return Triangulation(
        xyz_world=studio.truth_xyz,
        inlier=np.ones(shape, dtype=np.bool_),
        reprojection_px=np.full(shape, 0.1),
        covariance=np.zeros((*flat, 3, 3)),
        angle_deg=np.full(flat, 60.0),
        consensus=np.ones(flat, dtype=np.bool_),
    )


def test_such_a_frame_is_left_out_of_the_training_set(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace()
    label(workspace, [1, 2, 3, 33])
    add_a_second(workspace, 2)
    add_a_second(workspace, 33)
    number = frames_of(workspace)
    assert collect(workspace).frame_ids.tolist() == [number[1], number[3]]


def test_nothing_of_such_a_project_is_pseudo_labelled(make_workspace: Make, studio: CaptureStudio, label: Label) -> None:
    workspace = make_workspace(pseudo_labels={"max_ratio": 1.0})
    label(workspace, [1, 2, 3])
    rows = frames.list_frames(workspace.store)
    proposal = propose_pseudo(RoundState(workspace), rows, [exact(studio)], 1, set())
    assert proposal.frame_ids, "with one subject these points would be taken"
    row = {"frame_id": rows[9].id, "subject": 0, "whole": True, "xyz_world": [], "weight": 0.5, "generation": 1}
    pseudo_labels.replace_round(workspace.store, 0, [{**row, "pose": Pose2D.empty(3, 15).to_json()}])
    assert len(pseudo_in_force(RoundState(workspace))) == 1
    add_a_second(workspace, 2)
    state = RoundState(workspace)
    assert propose_pseudo(state, rows, [exact(studio)], 1, set()).frame_ids == []
    assert pseudo_in_force(state) == []


def test_status_says_so(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace()
    label(workspace, [1, 2, 3])
    assert "left out" not in dict(overview(workspace))
    add_a_second(workspace, 2)
    assert dict(overview(workspace))["left out"].startswith("1 labelled frames hold too many subjects")
