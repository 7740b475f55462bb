"""From a trained folder to a version: evaluated on validation frames, put before the gate, live if it passes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.evaluation.validation_error import ValidationErrors, validation_errors
from ml_backend.geometry.cameras import Rig
from ml_backend.jobs.training_run import TrainingRun
from ml_backend.metrics.bootstrap import gate
from ml_backend.pose.weights import read_manifest
from ml_backend.project.job_arguments import RescoreArguments
from ml_backend.project.load_model import load_predictor
from ml_backend.project.round_state import RoundState
from ml_backend.project.training_set import training_rows
from ml_backend.store import versions, work
from ml_backend.store.fault_points import reach
from ml_backend.store.statuses import EventLevel, JobKind
from ml_backend.store.versions import VersionRow


def publish_if_good(run: TrainingRun, folder: Path, live: VersionRow | None, now: RoundState) -> VersionRow:
    """The version that the model in ``folder`` became; its status says whether it is live.

    ``now`` was first read after the training, since that notes which pictures cannot be read.
    A repeated call for the same folder finds the same version.  The attempt of the job is the fencing token.
    """
    context, snapshot, pictures = run.context, run.snapshot, run.pictures
    workspace, attempt = context.workspace, context.job.attempt
    new = validation_errors(now, load_predictor(workspace, folder), snapshot, pictures)
    old = validation_errors(now, load_predictor(workspace, workspace.models / live.path), snapshot, pictures) if live else None
    learnt = len(training_rows(workspace, snapshot))
    decision = gate(
        old.per_frame_px if old else np.full(len(new.per_frame_px), np.nan),
        new.per_frame_px,
        min_frames=workspace.spec.gate.min_frames,
        max_p_worse=workspace.spec.gate.confidence,
        group=new.block,
    )
    status = decision.status if old else "the first model, nothing to compare it with"
    manifest = read_manifest(folder)
    learning = {"learnt_frames": learnt, "left_out_pictures": int(manifest.metrics.get("skipped", 0))}
    version = versions.add(
        workspace.store,
        attempt=attempt,
        snapshot_id=run.row.id,
        path=folder.name,
        sha256=manifest.files["weights.safetensors"],
        metrics={**_metrics(new, old, status, now.rigs), **learning},
    )
    reach("version noted")
    if not decision.passed:
        versions.reject(workspace.store, version.id, status)
        context.log_event(f"px-{version.number} was not published: {status}", EventLevel.WARNING)
    elif not versions.publish(workspace.store, version.id, attempt):
        context.log_event(
            f"px-{version.number} was not published: a version is pinned, or a newer one is live", EventLevel.WARNING
        )
    else:
        reach("published")
        context.log_event(f"px-{version.number} is live, {learnt_from(learnt, len(snapshot.keys))}; gate: {status}")
        work.request(workspace.store, JobKind.RESCORE, RescoreArguments(version.id).to_json())
    return versions.get(workspace.store, version.id)


def learnt_from(learnt: int, labelled: int) -> str:
    """How many of the labels a version was trained on, and where the others are."""
    others = f" (the other {labelled - learnt} measure it, or are kept from it)" if labelled > learnt else ""
    return f"learnt from {learnt} of {labelled} labelled frames{others}"


def _metrics(new: ValidationErrors, old: ValidationErrors | None, gate_status: str, rigs: Mapping[str, Rig]) -> dict[str, Any]:
    return {
        "validation_frames": int(np.isfinite(new.per_frame_px).sum()),
        "validation_px": new.mean_px,
        "validation_median_px": new.median_px,
        "previous_px": old.mean_px if old else None,
        "previous_median_px": old.median_px if old else None,
        "per_keypoint_px": new.per_keypoint_px,
        "previous_per_keypoint_px": old.per_keypoint_px if old else None,
        "validation_world": new.mean_world,
        "world_unit": next((rig.unit for rig in rigs.values()), None),
        "gate": gate_status,
    }
