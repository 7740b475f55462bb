"""Cycle 0 with a pre-trained model: what ``train.weights`` names is live before anybody has labelled (docs/methods.md §3.4)."""

from __future__ import annotations

import shutil
from dataclasses import replace

from ml_backend.acquisition.score import Source
from ml_backend.jobs.job_context import JobContext
from ml_backend.jobs.retrain_job import common_model
from ml_backend.labels.snapshot import Snapshot
from ml_backend.pose.source_poses import read_poses
from ml_backend.pose.weights import MANIFEST_NAME, WEIGHTS_NAME, read_manifest
from ml_backend.project.label_snapshot import collect
from ml_backend.project.training_config import first_weights, starts_warm
from ml_backend.project.training_set import model_folder_name
from ml_backend.store import versions
from ml_backend.store.statuses import VersionStatus
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace


def take_over(context: JobContext) -> VersionRow | None:
    """Make the model folder of ``train.weights`` the first version, live, trained on no label of this project.

    None, and nothing changes, when the project had a version before, when every training starts from scratch, or when
    ``train.weights`` is no model of the same network and skeleton.
    """
    workspace, attempt = context.workspace, context.job.attempt
    source = first_weights(workspace.spec.train)
    had_one = any(row.status == VersionStatus.PUBLISHED for row in versions.list_versions(workspace.store))
    if had_one or source is None or not starts_warm(workspace.spec.train) or not common_model(workspace):
        return None
    snapshot = _without_labels(collect(workspace))
    path, _ = workspace.arrays.save("snapshots", snapshot.to_arrays())
    known = {row.path: row for row in versions.list_snapshots(workspace.store)}  # a killed try has written it down
    row = known.get(path) or versions.save_snapshot(
        workspace.store, sha256=snapshot.sha256, path=path, n_frames=0, annotations=[]
    )
    manifest = read_manifest(source)
    folder = workspace.models / model_folder_name(row, None, dict(manifest.files))
    if not (folder / MANIFEST_NAME).is_file():
        shutil.copytree(source, folder, dirs_exist_ok=True)
    metrics = {"validation_frames": 0, "gate": "not asked, nothing is labelled yet"}
    sha256 = manifest.files[WEIGHTS_NAME]
    version = versions.add(workspace.store, attempt=attempt, snapshot_id=row.id, path=folder.name, sha256=sha256, metrics=metrics)
    if not versions.publish(workspace.store, version.id, attempt):
        return None
    context.log_event(f"px-{version.number} is live: the model of train.weights, {source}, before any label of this project")
    return versions.get(workspace.store, version.id)


def _without_labels(snapshot: Snapshot) -> Snapshot:
    arrays = {name: value[:0] for name, value in vars(snapshot).items() if name not in ("keys", "annotations")}
    return replace(snapshot, keys=(), annotations=(), **arrays)


def source_of(workspace: Workspace) -> Source | None:
    """The poses that the model of ``train.weights`` was trained on, where its folder holds them and the keypoints are as many."""
    folder = first_weights(workspace.spec.train)
    poses = None if folder is None else read_poses(folder)
    if poses is None or poses[0].shape[2] != len(workspace.binding.skeleton):
        return None
    return Source(*poses)
