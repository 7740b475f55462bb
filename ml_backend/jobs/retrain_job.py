"""Retrain: snapshot → train → validate → gate → publish.  Killed anywhere, the next try goes on from what is on disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from label_config.values import IntArray, TrainingTarget
from label_config.values.errors import InterruptedWorkError
from ml_backend.evaluation.batch_performance import last_batch_performance
from ml_backend.jobs.publish import publish_if_good, tell
from ml_backend.jobs.replay import held_out, misestimated
from ml_backend.jobs.scoring import auxiliary_networks
from ml_backend.jobs.unused_pictures import say_left_out
from ml_backend.labels.snapshot import Snapshot
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.training import Progress, train
from ml_backend.pose.weights import MANIFEST_NAME, read_manifest
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.round_state import RoundState
from ml_backend.project.training_config import config_for, first_weights, processes_of, recipe_for, starts_warm
from ml_backend.project.training_set import human_targets, model_folder_name, pseudo_targets, snapshot_of_job, training_rows
from ml_backend.store import versions, work
from ml_backend.store.fault_points import reach
from ml_backend.store.versions import SnapshotRow, VersionRow
from ml_backend.store.work import JobRow
from ml_backend.store.workspace import Workspace

Report = Callable[[dict[str, Any]], None]


class StoppedError(InterruptedWorkError):
    """The worker was asked to stop; a checkpoint is on disk and the job is taken up again."""


def retrain(workspace: Workspace, job: JobRow, report: Report, should_stop: Callable[[], bool]) -> VersionRow | None:
    """One training run; the version it led to, None when there was nothing new to learn."""
    warm = starts_warm(workspace.spec.train)
    row, snapshot, job = snapshot_of_job(workspace, job)
    report({"stage": "snapshot", "frames": row.n_frames})
    live = versions.live(workspace.store)
    parent = _parent(workspace, job, live) if warm else None
    job = work.remember(workspace.store, job, parent=parent.id if parent else None)
    with closing(Pictures(workspace)) as pictures:
        return _train_and_publish(workspace, job, row, snapshot, live, parent, pictures, report, should_stop)


def _train_and_publish(
    workspace: Workspace,
    job: JobRow,
    row: SnapshotRow,
    snapshot: Snapshot,
    live: VersionRow | None,
    parent: VersionRow | None,
    pictures: Pictures,
    report: Report,
    should_stop: Callable[[], bool],
) -> VersionRow | None:
    rows = training_rows(workspace, snapshot)
    if parent and workspace.spec.train.preset == "acft":
        report({"stage": "replay"})
        rows = misestimated(workspace, parent, snapshot, rows, pictures)
    targets, held_out, config = _targets_and_config(workspace, row, snapshot, rows, parent)
    if not targets:
        tell(workspace, "nothing to train on yet: no labelled frame lies in the training part", "warning")
        return None
    pictures.prepare([target.image for target in (*targets, *held_out)])
    init = workspace.models / parent.path if parent else first_weights(workspace.spec.train)
    folder = workspace.models / model_folder_name(row, parent, config.to_json(), rows.tolist(), None if parent else str(init))
    job, batch = begin_training(workspace, job, config)
    result = train(
        config,
        targets,
        workspace.binding.skeleton,
        pictures.read,
        folder,
        init=init,
        validation=held_out,
        progress=lambda progress: report(train_progress(progress)),
        should_stop=should_stop,
        extra={"snapshot": row.sha256, "round": row.round, "parent": parent.number if parent else None},
        processes=processes_of(workspace.spec.train),
        batch=batch,
    )
    if result.ending == "asked":
        raise StoppedError("stopped between two steps; the checkpoint is kept")
    job = end_training(workspace, job)
    say_left_out(workspace, [*targets, *held_out], result.skipped)
    reach("trained")
    report({"stage": "validate"})
    return publish_if_good(workspace, job, row, snapshot, folder, live, pictures)


def _parent(workspace: Workspace, job: JobRow, live: VersionRow | None) -> VersionRow | None:
    """The version to start from: the live one of the first try, when the network is the same."""
    if "parent" in job.arguments:
        wanted = job.arguments["parent"]
        return None if wanted is None else versions.get(workspace.store, wanted)
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
    workspace: Workspace, row: SnapshotRow, snapshot: Snapshot, rows: IntArray, parent: VersionRow | None
) -> tuple[list[TrainingTarget], list[TrainingTarget], TrainConfig]:
    """What to train on, what early stopping evaluates (nothing unless the recipe asks for it), and the recipe."""
    spec = workspace.spec.train
    auxiliary = auxiliary_networks(workspace.spec.scores)

    performance = last_batch_performance(RoundState(workspace))

    def recipe(count: int) -> TrainConfig:
        return recipe_for(
            spec,
            warm=parent is not None,
            round_=row.round,
            n_targets=count,
            performance=performance.oks,
            auxiliary=auxiliary,
            common=parent is None and common_model(workspace),
        )

    targets = human_targets(workspace, snapshot, rows) + pseudo_targets(workspace, snapshot)
    config = recipe(max(len(targets), 1))
    if not config.validate_every:
        return targets, [], config
    apart = held_out(snapshot, rows, workspace.project.seed)
    if not apart.any() or apart.all():
        return targets, [], config
    targets = human_targets(workspace, snapshot, rows[~apart]) + pseudo_targets(workspace, snapshot)
    return targets, human_targets(workspace, snapshot, rows[apart]), recipe(len(targets))


def begin_training(workspace: Workspace, job: JobRow, config: TrainConfig) -> tuple[JobRow, int]:
    """The largest batch that this try may train with, and the job, which remembers it.

    Half of the last one when an earlier try's worker died over the training without a word: then memory may have run out.
    """
    batch = config.batch
    died = job.arguments.get(work.TRAINING_BATCH)
    if died is not None:
        died = min(died, (job.progress or {}).get("batch", died))  # the try itself may have halved it
        batch = min(batch, max(died // 2, 1))
        tell(
            workspace,
            f"{job.kind}: its worker died while training with a batch of {died}, perhaps because memory ran out; "
            f"try {job.tries} goes on with {batch}",
            "warning",
        )
    return work.remember(workspace.store, job, **{work.TRAINING_BATCH: batch}), batch


def end_training(workspace: Workspace, job: JobRow) -> JobRow:
    """The job no longer trains: what its worker may die of now has nothing to do with the batch."""
    return work.remember(workspace.store, job, **{work.TRAINING_BATCH: None})


def train_progress(progress: Progress) -> dict[str, Any]:
    """A training run as ``parallax status`` shows it."""
    reach("training")
    return {
        "stage": "train",
        "step": progress.step,
        "steps": progress.steps,
        "eta_s": round(progress.eta_s, 1),
        "loss": progress.loss,
        "validation_px": progress.validation_px,
        "batch": progress.batch,
    }
