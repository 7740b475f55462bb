"""Retrain: snapshot → train → validate → gate → publish.  Killed anywhere, the next try goes on from what is on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import FloatArray, ParallaxError, TrainingTarget
from ml_backend.jobs.collect import collect
from ml_backend.jobs.pictures import Pictures
from ml_backend.jobs.training_config import config_for
from ml_backend.jobs.validate import Judgement, judge
from ml_backend.labels.snapshot import Snapshot
from ml_backend.metrics.bootstrap import gate
from ml_backend.pose.infer import Predictor
from ml_backend.pose.train import Progress, train
from ml_backend.pose.weights import read_manifest
from ml_backend.store import presence, versions, work
from ml_backend.store.frames import FrameRow, list_frames
from ml_backend.store.versions import SnapshotRow, VersionRow
from ml_backend.store.work import JobRow
from ml_backend.store.workspace import Workspace

log = logging.getLogger("parallax.retrain")

Report = Callable[[dict[str, Any]], None]


class StoppedError(ParallaxError):
    """The worker was asked to stop; a checkpoint is on disk and the job is taken up again."""


def retrain(workspace: Workspace, job: JobRow, report: Report, should_stop: Callable[[], bool]) -> VersionRow | None:
    """One training run; the version it led to, None when there was nothing new to learn."""
    row, snapshot, job = _snapshot(workspace, job)
    report({"stage": "snapshot", "frames": row.n_frames})
    live = versions.live(workspace.store, workspace.project_id)
    parent = _parent(workspace, job, live)
    job = work.remember(workspace.store, job, parent=parent.id if parent else None)
    pictures = Pictures(workspace)
    targets = training_targets(workspace, snapshot)
    if not targets:
        _tell(workspace, "nothing to train on yet: no labelled frame lies in the training part", "warning")
        return None
    init = workspace.models / parent.path if parent else None
    config = config_for(workspace.spec.train, warm=init is not None, round_=row.round)
    folder = workspace.models / _folder_name(row, config.to_json(), parent)
    result = train(
        config,
        targets,
        workspace.binding.skeleton,
        pictures.read,
        folder,
        init=init,
        progress=lambda p: report(_progress(p)),
        should_stop=should_stop,
        extra={"snapshot": row.sha256, "round": row.round, "parent": parent.number if parent else None},
    )
    if result.ending == "asked":
        raise StoppedError("stopped between two steps; the checkpoint is kept")
    return _publish(workspace, job, row, snapshot, folder, live, pictures, report)


def _snapshot(workspace: Workspace, job: JobRow) -> tuple[SnapshotRow, Snapshot, JobRow]:
    """The snapshot of this job: taken by its first try, the same for every later one."""
    wanted = job.arguments.get("snapshot_id")
    for row in versions.list_snapshots(workspace.store, workspace.project_id):
        if row.id == wanted:
            return row, Snapshot.from_arrays(workspace.arrays.load(row.path)), job
    snapshot = collect(workspace)
    path, _ = workspace.arrays.save("snapshots", snapshot.to_arrays())
    row = versions.save_snapshot(
        workspace.store, workspace.project_id, sha256=snapshot.sha256, path=path, n_frames=len(snapshot.keys)
    )
    return row, snapshot, work.remember(workspace.store, job, snapshot_id=row.id)


def _parent(workspace: Workspace, job: JobRow, live: VersionRow | None) -> VersionRow | None:
    """The version to start from: the live one of the first try, when a warm start is wanted and the network is the same."""
    if not workspace.spec.train.warm_start:
        return None
    if "parent" in job.arguments:
        wanted = job.arguments["parent"]
        return None if wanted is None else versions.get(workspace.store, wanted)
    if live is None:
        return None
    manifest = read_manifest(workspace.models / live.path)
    same = manifest.config.network == workspace.spec.train.network and manifest.skeleton == workspace.binding.skeleton
    return live if same else None


def _folder_name(row: SnapshotRow, config: dict[str, Any], parent: VersionRow | None) -> str:
    """Named by everything that decides the outcome, so that a repeated run finds its own checkpoint or its finished model."""
    text = json.dumps([row.sha256, config, parent.sha256 if parent else None], sort_keys=True)
    return f"m-{row.round:04d}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def training_targets(workspace: Workspace, snapshot: Snapshot) -> list[TrainingTarget]:
    """One target per picture of the training part that says anything, and per picture with pseudo-labels."""
    rows = snapshot.rows("train")
    window = workspace.spec.train.window
    if window is not None:
        rows = rows[-window:]
    frames = {row.id: row for row in list_frames(workspace.store, workspace.project_id, snapshot.frame_ids.tolist())}
    weight = snapshot.weight
    targets = []
    for i in rows:
        targets += _targets(workspace, frames[int(snapshot.frame_ids[i])], snapshot.xy_px[i], weight[i])
    pseudo = {row.id: row for row in list_frames(workspace.store, workspace.project_id, snapshot.pseudo_ids.tolist())}
    for i, frame_id in enumerate(snapshot.pseudo_ids.tolist()):
        accepted = np.isfinite(snapshot.pseudo_xy_px[i]).all(axis=-1)
        targets += _targets(workspace, pseudo[frame_id], snapshot.pseudo_xy_px[i], accepted * snapshot.pseudo_weight[i])
    return targets


def _targets(workspace: Workspace, frame: FrameRow, xy_px: FloatArray, weight: FloatArray) -> list[TrainingTarget]:
    if frame.unreadable is not None:
        return []
    return [
        TrainingTarget(frame.images[view], xy_px[v], weight[v], key=frame.key, view=view)
        for v, view in enumerate(workspace.views)
        if view in frame.images and (weight[v] > 0).any()
    ]


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "stage": "train",
        "step": progress.step,
        "steps": progress.steps,
        "eta_s": round(progress.eta_s, 1),
        "loss": progress.loss,
        "validation_px": progress.validation_px,
    }


def _publish(
    workspace: Workspace,
    job: JobRow,
    row: SnapshotRow,
    snapshot: Snapshot,
    folder: Path,
    live: VersionRow | None,
    pictures: Pictures,
    report: Report,
) -> VersionRow:
    report({"stage": "validate"})
    device = workspace.spec.train.device
    new = judge(workspace, Predictor.load(folder, device), snapshot, pictures)
    old = judge(workspace, Predictor.load(workspace.models / live.path, device), snapshot, pictures) if live else None
    decision = gate(
        old.per_frame_px if old else np.full(len(new.per_frame_px), np.nan),
        new.per_frame_px,
        min_frames=workspace.spec.gate.min_frames,
        max_p_worse=workspace.spec.gate.confidence,
    )
    version = versions.add(
        workspace.store,
        workspace.project_id,
        attempt=job.attempt,
        snapshot_id=row.id,
        path=folder.name,
        sha256=read_manifest(folder).files["weights.safetensors"],
        metrics=_metrics(new, old, decision.status),
    )
    report({"stage": "publish", "version": version.number})
    if not decision.passed:
        versions.reject(workspace.store, version.id, decision.status)
        _tell(workspace, f"px-{version.number} was not published: {decision.status}", "warning")
    elif not versions.publish(workspace.store, workspace.project_id, version.id, job.attempt):
        _tell(workspace, f"px-{version.number} was not published: a version is pinned, or a newer one is live", "warning")
    else:
        _tell(workspace, f"px-{version.number} is live ({len(snapshot.keys)} labelled frames; gate: {decision.status})")
        work.request(workspace.store, workspace.project_id, "rescore", {"version_id": version.id})
    return versions.get(workspace.store, version.id)


def _metrics(new: Judgement, old: Judgement | None, gate_status: str) -> dict[str, Any]:
    return {
        "validation_frames": int(np.isfinite(new.per_frame_px).sum()),
        "validation_px": new.mean_px,
        "previous_px": old.mean_px if old else None,
        "per_keypoint_px": new.per_keypoint_px,
        "validation_world": new.mean_world,
        "gate": gate_status,
    }


def _tell(workspace: Workspace, text: str, level: str = "info") -> None:
    presence.tell(workspace.store, workspace.project_id, text, level=level)
