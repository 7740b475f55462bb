"""Retrain: snapshot → train → validate → gate → publish.  Killed anywhere, the next try goes on from what is on disk."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from label_config.values import IntArray, TrainingTarget
from ml_backend.evaluation.batch_performance import BatchPerformance, last_batch_performance
from ml_backend.jobs.job_context import JobContext
from ml_backend.jobs.labelled_crops import crops_of
from ml_backend.jobs.publish import publish_if_good
from ml_backend.jobs.replay import early_stop_part, misestimated
from ml_backend.jobs.scoring import auxiliary_networks, labelled_sizes
from ml_backend.jobs.training_run import TrainingRun
from ml_backend.jobs.unused_pictures import say_left_out
from ml_backend.labels.snapshot import Snapshot
from ml_backend.labels.split import TRAIN, VALIDATION
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.engine import TrainResult
from ml_backend.pose.source_poses import write_poses
from ml_backend.pose.weights import MANIFEST_NAME, read_manifest
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.job_arguments import RetrainArguments
from ml_backend.project.round_state import RoundState
from ml_backend.project.training_config import config_for, first_weights, recipe_for, starts_warm
from ml_backend.project.training_set import human_targets, model_folder_name, pseudo_targets, snapshot_of_job, training_rows
from ml_backend.store import presence, versions
from ml_backend.store.fault_points import reach
from ml_backend.store.statuses import EventLevel
from ml_backend.store.versions import SnapshotRow, VersionRow
from ml_backend.store.work import JobRow
from ml_backend.store.workspace import Workspace

_SQUEEZED = "training ended by its time"


def retrain(context: JobContext) -> VersionRow | None:
    """One training run; the version it led to, None when there was nothing new to learn."""
    workspace = context.workspace
    warm = starts_warm(workspace.spec.train)
    now = RoundState(workspace)
    row, snapshot, job = snapshot_of_job(now, context.job)
    context.report({"stage": "snapshot", "frames": row.n_frames})
    live = now.live
    parent = _parent(workspace, job, live) if warm else None
    context = context.with_job(job).remember(parent=parent.id if parent else None)
    with closing(Pictures(workspace)) as pictures:
        return _train_and_publish(TrainingRun(context, row, snapshot, parent, pictures), live, now)


def _train_and_publish(run: TrainingRun, live: VersionRow | None, now: RoundState) -> VersionRow | None:
    workspace, snapshot, parent = run.context.workspace, run.snapshot, run.parent
    rows = training_rows(workspace, snapshot)
    performance: BatchPerformance | None = None
    if workspace.spec.train.preset in ("acft", "video_specific"):
        if parent:
            run.context.report({"stage": "replay"})
            rows = misestimated(now, parent, snapshot, rows, run.pictures)
        now = RoundState(workspace)  # the snapshot opened a round, and the replay noted what it found of pictures
        performance = last_batch_performance(now)
    targets, apart, config = _targets_and_config(now, run.row, snapshot, rows, parent, performance)
    if not targets:
        run.context.log_event("nothing to train on yet: no labelled frame lies in the training part", EventLevel.WARNING)
        return None
    run.pictures.prepare([target.image for target in (*targets, *apart)])
    init = workspace.models / parent.path if parent else first_weights(workspace.spec.train)
    name = model_folder_name(run.row, parent, config.to_json(), rows.tolist(), None if parent else str(init))
    folder = workspace.models / name
    run, result = run.train(config, targets, folder, init=init, validation=apart)
    say_length(run.context, config, result, performance)
    say_left_out(workspace, [*targets, *apart], result.skipped)
    now = RoundState(workspace)  # training noted what it found of pictures
    sizes = labelled_sizes(now, snapshot)
    write_poses(folder, snapshot.xy_px[rows], crops_of(snapshot, read_manifest(folder), sizes)[rows])
    reach("trained")
    run.context.report({"stage": "validate"})
    return publish_if_good(run, folder, live, now)


def _parent(workspace: Workspace, job: JobRow, live: VersionRow | None) -> VersionRow | None:
    """The version to start from: the live one of the first try, when the network is the same."""
    parent = RetrainArguments.of(job).parent
    if parent != "undecided":
        return None if parent is None else versions.get(workspace.store, parent)
    return live if live is not None and same_network(workspace, live) else None


def same_network(workspace: Workspace, version: VersionRow) -> bool:
    """The version's weights fit the network and the skeleton of parallax.yaml.

    Auxiliary networks do not count: those that the version lacks start fresh beside it, those that no score wants any more
    are left behind.
    """
    return _fits(workspace, workspace.models / version.path)


def common_model(workspace: Workspace) -> bool:
    """``train.weights`` is the folder of a model of the same network and skeleton, such as another project's."""
    folder = first_weights(workspace.spec.train)
    return folder is not None and (folder / MANIFEST_NAME).is_file() and _fits(workspace, folder)


def _fits(workspace: Workspace, folder: Path) -> bool:
    manifest = read_manifest(folder)
    wanted = config_for(workspace.spec.train, warm=True, round_=0)
    same = (manifest.config.network, dict(manifest.config.network_args)) == (wanted.network, dict(wanted.network_args))
    return same and manifest.skeleton == workspace.binding.skeleton


def _targets_and_config(
    now: RoundState,
    row: SnapshotRow,
    snapshot: Snapshot,
    rows: IntArray,
    parent: VersionRow | None,
    performance: BatchPerformance | None,
) -> tuple[list[TrainingTarget], list[TrainingTarget], TrainConfig]:
    """What to train on, what early stopping evaluates (nothing unless the recipe asks for it), and the recipe."""
    spec = now.spec.train
    auxiliary = auxiliary_networks(now.spec.scores, limb_refinement=spec.limb_refinement)

    def recipe(count: int) -> TrainConfig:
        config = recipe_for(
            spec,
            warm=parent is not None,
            round_=row.round,
            n_targets=count,
            performance=math.nan if performance is None else performance.oks,
            auxiliary=auxiliary,
            common=parent is None and common_model(now.workspace),
        )
        # A whole picture shows all subjects, and its target would be one of them: boxes say where to look.
        return config if now.spec.subjects.max == 1 else replace(config, two_stage=False)

    targets = human_targets(now, snapshot, rows) + pseudo_targets(now, snapshot)
    config = recipe(max(len(targets), 1))
    if not config.validate_every:
        return targets, [], config
    part = early_stop_part(now, snapshot, rows)
    apart, kept = part == VALIDATION, part == TRAIN
    if not apart.any() or not kept.any():
        return targets, [], config
    targets = human_targets(now, snapshot, rows[kept]) + pseudo_targets(now, snapshot)
    return targets, human_targets(now, snapshot, rows[apart]), recipe(len(targets))


def say_length(context: JobContext, config: TrainConfig, result: TrainResult, performance: BatchPerformance | None) -> None:
    """What the length of the training followed, and a warning when ``train.max_minutes`` ended it before its last step."""
    store, name = context.workspace.store, context.workspace.spec.train.preset
    if performance is not None:
        context.log_event(f"{name}: {performance}; {config.steps} steps")
    if result.ending != "time":
        presence.settle(store, _SQUEEZED)
        return
    text = (
        f"train.max_minutes: the training ended after {config.max_minutes:g} minutes with {result.steps} of its {config.steps} "
        f"steps ({name}); raise train.max_minutes for the whole length"
    )
    presence.tell(store, text, level=EventLevel.WARNING, key=_SQUEEZED)
