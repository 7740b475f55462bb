"""What each kind of job is asked for, and what it remembers for a later try, as typed values.

They are stored as JSON in the row of the job.  What is missing there has its default, and names that this release does not know
belong to another one: both load.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from pydantic import TypeAdapter, ValidationError

from label_config.values import BadInputError
from ml_backend.labels.harvested_labels import GRID, KEEP
from ml_backend.store.work import JobRow


@dataclass(frozen=True)
class JobArguments:
    """Base of the arguments of one kind of job."""

    @classmethod
    def of(cls, job: JobRow) -> Self:
        """From the row of a job.  Raises BadInputError, naming the argument, when one of them is not what it should be."""
        try:
            return TypeAdapter(cls).validate_json(json.dumps(job.arguments), strict=True)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg'].removeprefix('Input ')}, "
                f"got {problem['input']!r}"
                for problem in error.errors()
            )
            raise BadInputError(f"job {job.id} ({job.kind}): {wrong}; ask for the job again") from error


@dataclass(frozen=True)
class RequestArguments(JobArguments):
    """Arguments that whoever asks for the job gives."""

    def to_json(self) -> dict[str, Any]:
        """As the store keeps them, without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class RescoreArguments(RequestArguments):
    """``version_id``: the version that was live when the job was asked for; the job scores with the one that is live then."""

    version_id: int | None = None


@dataclass(frozen=True)
class SelectArguments(RequestArguments):
    """``round``: that of the rescan to read, None = the newest."""

    version_id: int | None = None
    round: int | None = None


@dataclass(frozen=True)
class RetrainArguments(JobArguments):
    """What the first try of a training decided.

    snapshot_id     the labels to train on
    parent          the version to start from, None = a fresh start
    training_batch  crops of the training that is going on (``store.work.TRAINING_BATCH``)
    """

    snapshot_id: int | None = None
    parent: int | Literal["undecided"] | None = "undecided"
    training_batch: int | None = None


@dataclass(frozen=True)
class HarvestOptions(RequestArguments):
    """What a harvest job is asked for.

    sequences     recordings to harvest, None = all that are calibrated
    keep          share of each keypoint's poses that become labels
    stride        every n-th frame
    train_frames  at most this many harvested frames are trained on, evenly spread: neighbours add little new
    grid          voxels per side of the pictorial structure, 8 to 128
    unconfirmed   keep the share of all poses, as printed, not only of those that two views confirm
    limb_lengths  (keypoint, keypoint, length in the rig's unit) of the subject; None = those of the labels, or of predictions
    """

    sequences: Sequence[str] | None = None
    keep: float = KEEP
    stride: int = 1
    train_frames: int = 500
    grid: int = GRID
    unconfirmed: bool = False
    limb_lengths: Sequence[tuple[str, str, float]] | None = None

    def __post_init__(self) -> None:
        if not 8 <= self.grid <= 128:
            raise BadInputError(f"harvest: expected a grid of 8 to 128 voxels, got {self.grid}")
        if not (0 < self.keep <= 1 and self.stride >= 1 and self.train_frames >= 1):
            raise BadInputError(
                f"harvest: expected keep in (0, 1], stride and train_frames of at least 1, "
                f"got {self.keep}, {self.stride} and {self.train_frames}"
            )


@dataclass(frozen=True)
class HarvestArguments(RetrainArguments):
    """What a harvest job remembers beside its options: array files of the poses by the live and the personalised model."""

    before: str | None = None
    after: str | None = None
    version_id: int | None = None
