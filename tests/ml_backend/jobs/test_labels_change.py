"""Annotations that are edited, skipped or deleted while a model trains count as they are in the next snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from label_config.values import Pose2D
from ml_backend.project.label_snapshot import collect
from ml_backend.project.round_state import RoundState
from ml_backend.project.training_set import load_snapshot, snapshot_of_job
from ml_backend.store import submissions, tasks, work
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.workspace import Workspace


def resubmit(workspace: Workspace, row: AnnotationRow, **change: Any) -> None:
    """What a pull writes after somebody changed an annotation."""
    values = {name: value for name, value in vars(row).items() if name not in ("id", "frame_id", "deleted")}
    submissions.save(workspace.store, [{**values, "updated_at": "2026-01-02T00:00:00Z", **change}])


def test_the_running_snapshot_stays_and_the_next_one_follows(
    make_workspace: Callable[..., Workspace], label: Callable[..., None]
) -> None:
    workspace = make_workspace()
    label(workspace, [0, 4, 8, 12])
    job = work.claim(workspace.store, work.request(workspace.store, "retrain").id, "w")
    assert job is not None
    row, before, job = snapshot_of_job(RoundState(workspace), job)
    edited, deleted, skipped, _ = submissions.list_annotations(workspace.store)
    moved = Pose2D.from_json(edited.poses["0"])
    moved.xy_px[:] += 3.0
    resubmit(workspace, edited, poses={"0": moved.to_json()})
    submissions.mark_deleted(workspace.store, [deleted.id])
    resubmit(workspace, skipped, cancelled=True)
    # The training that runs, or is tried again, sees what it began with.
    again, same, _ = snapshot_of_job(RoundState(workspace), job)
    assert (again.id, same.sha256) == (row.id, before.sha256)
    after = collect(workspace)
    assert [key.index for key in after.keys] == [0, 12]
    np.testing.assert_allclose(after.xy_px[0], before.xy_px[0] + 3.0, atol=0.002)
    assert after.sha256 != before.sha256
    assert [key.index for key in load_snapshot(workspace, row).keys] == [0, 4, 8, 12]


def test_a_task_that_was_deleted_takes_its_labels_along(
    make_workspace: Callable[..., Workspace], label: Callable[..., None]
) -> None:
    workspace = make_workspace()
    label(workspace, [0, 4])
    tasks.mark_deleted(workspace.store, [1000])
    assert [key.index for key in collect(workspace).keys] == [4]
