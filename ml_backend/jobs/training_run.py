"""One training within a job: what it starts from, its batch, and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from label_config.values import TrainingTarget
from ml_backend.jobs.job_context import JobContext, StoppedError
from ml_backend.labels.snapshot import Snapshot
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.training import Progress, TrainResult, train
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.job_arguments import RetrainArguments
from ml_backend.project.training_config import processes_of
from ml_backend.store import work
from ml_backend.store.fault_points import reach
from ml_backend.store.statuses import EventLevel
from ml_backend.store.versions import SnapshotRow, VersionRow


@dataclass(frozen=True)
class TrainingRun:
    """A job that trains.

    row, snapshot  the labels to train on
    parent         the version whose weights it starts from, None = a fresh start
    """

    context: JobContext
    row: SnapshotRow
    snapshot: Snapshot
    parent: VersionRow | None
    pictures: Pictures

    def train(
        self,
        config: TrainConfig,
        targets: Sequence[TrainingTarget],
        folder: Path,
        *,
        init: Path | None,
        validation: Sequence[TrainingTarget] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> tuple[TrainingRun, TrainResult]:
        """Train into ``folder``, or go on from the checkpoint there.  Raises StoppedError when the worker was asked to end.

        init   weights to start from
        extra  what the manifest notes beside snapshot, round and parent
        """
        workspace = self.context.workspace
        context, batch = begin_training(self.context, config)
        noted = {"snapshot": self.row.sha256, "round": self.row.round, "parent": self.parent.number if self.parent else None}
        result = train(
            config,
            targets,
            workspace.binding.skeleton,
            self.pictures.read,
            folder,
            init=init,
            validation=validation,
            progress=lambda progress: context.report(train_progress(progress)),
            should_stop=context.should_stop,
            extra={**noted, **(extra or {})},
            processes=processes_of(workspace.spec.train),
            batch=batch,
        )
        if result.ending == "asked":
            raise StoppedError("stopped between two steps; the checkpoint is kept")
        # What the worker may die of now has nothing to do with the batch.
        return replace(self, context=context.remember(**{work.TRAINING_BATCH: None})), result


def begin_training(context: JobContext, config: TrainConfig) -> tuple[JobContext, int]:
    """The largest batch that this try may train with, and the job, which remembers it.

    Half of the last one when an earlier try's worker died over the training without a word: then memory may have run out.
    """
    job, batch = context.job, config.batch
    died = RetrainArguments.of(job).training_batch
    if died is not None:
        died = min(died, (job.progress or {}).get("batch", died))  # the try itself may have halved it
        batch = min(batch, max(died // 2, 1))
        context.log_event(
            f"{job.kind}: its worker died while training with a batch of {died}, perhaps because memory ran out; "
            f"try {job.tries} goes on with {batch}",
            EventLevel.WARNING,
        )
    return context.remember(**{work.TRAINING_BATCH: batch}), batch


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
