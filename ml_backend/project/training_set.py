"""What a network is trained on: the snapshot of a job, and one target per picture that says anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from label_config.values import FloatArray, IntArray, TrainingTarget
from ml_backend.labels.snapshot import Snapshot, box_or_none
from ml_backend.project.job_arguments import RetrainArguments
from ml_backend.project.label_snapshot import collect_labels
from ml_backend.project.round_state import RoundState
from ml_backend.store import versions, work
from ml_backend.store.fault_points import reach
from ml_backend.store.frames import FrameRow
from ml_backend.store.versions import SnapshotRow, VersionRow
from ml_backend.store.work import JobRow
from ml_backend.store.workspace import Workspace


def snapshot_of_job(now: RoundState, job: JobRow, *, reuse: bool = False) -> tuple[SnapshotRow, Snapshot, JobRow]:
    """The snapshot of this job: taken by its first try, the same for every later one.

    ``reuse``: take none, and so open no new round, when people said nothing new since the last one.
    """
    workspace, rows, wanted = now.workspace, now.snapshots, RetrainArguments.of(job).snapshot_id
    for row in rows:
        if row.id == wanted:
            return row, load_snapshot(workspace, row), job
    snapshot = collect_labels(now)
    if reuse and rows and load_snapshot(workspace, rows[-1]).annotations == snapshot.annotations:
        row, snapshot = rows[-1], load_snapshot(workspace, rows[-1])
    else:
        path, _ = workspace.arrays.save("snapshots", snapshot.to_arrays())
        row = versions.save_snapshot(
            workspace.store,
            sha256=snapshot.sha256,
            path=path,
            n_frames=len(snapshot.keys),
            annotations=[number for number, _ in snapshot.annotations],
            job=job,
        )
    reach("snapshot taken")
    return row, snapshot, work.remember(workspace.store, job, snapshot_id=row.id)


def load_snapshot(workspace: Workspace, row: SnapshotRow) -> Snapshot:
    """The arrays of a snapshot.  Raises BadInputError when their file is gone."""
    return Snapshot.from_arrays(workspace.arrays.load(row.path))


def model_folder_name(row: SnapshotRow, parent: VersionRow | None, *decisive: Any) -> str:
    """Named by everything that decides the outcome, so that a repeated run finds its own checkpoint or its finished model.

    decisive  JSON values: the configuration, and what else this kind of run depends on
    """
    text = json.dumps([row.sha256, parent.sha256 if parent else None, *decisive], sort_keys=True)
    return f"m-{row.round:04d}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def training_rows(workspace: Workspace, snapshot: Snapshot) -> IntArray:
    """Positions of the labelled frames to train on: those of the training part, the newest ``train.window`` of them."""
    rows = snapshot.rows("train")
    window = workspace.spec.train.window
    return rows if window is None else rows[-window:]


def human_targets(now: RoundState, snapshot: Snapshot, rows: IntArray) -> list[TrainingTarget]:
    """One target per labelled picture of these frames that says anything."""
    weight = _where_boxed(now, snapshot.weight, snapshot.box_px)
    targets: list[TrainingTarget] = []
    for i in rows:
        frame = now.frames[int(snapshot.frame_ids[i])]
        targets += _targets(now.views, frame, snapshot.xy_px[i], weight[i], snapshot.box_px[i])
    return targets


def pseudo_targets(now: RoundState, snapshot: Snapshot) -> list[TrainingTarget]:
    """One target per picture with pseudo-labels."""
    targets: list[TrainingTarget] = []
    accepted = np.isfinite(snapshot.pseudo_xy_px).all(axis=-1)
    weight = _where_boxed(now, accepted * snapshot.pseudo_weight[:, None, None], snapshot.pseudo_box_px)
    for i, frame_id in enumerate(snapshot.pseudo_ids.tolist()):
        targets += _targets(now.views, now.frames[frame_id], snapshot.pseudo_xy_px[i], weight[i], snapshot.pseudo_box_px[i])
    return targets


def _where_boxed(now: RoundState, weight: FloatArray, box_px: FloatArray) -> FloatArray:
    """Of several subjects only what has a box: elsewhere nobody can say which one is meant."""
    if now.spec.subjects.max == 1:
        return weight
    return np.where(np.isfinite(box_px).all(axis=-1, keepdims=True), weight, 0.0)


def _targets(
    views: Sequence[str], frame: FrameRow, xy_px: FloatArray, weight: FloatArray, box_px: FloatArray
) -> list[TrainingTarget]:
    return [
        TrainingTarget(frame.images[view], xy_px[v], weight[v], box_px=box_or_none(box_px[v]), key=frame.key, view=view)
        for v, view in enumerate(views)
        if view in frame.usable and (weight[v] > 0).any()
    ]
