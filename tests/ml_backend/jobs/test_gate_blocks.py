"""The gate draws whole blocks of time: many frames of one moment are no proof against a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from label_config.values import FrameKey
from ml_backend.evaluation.validation_error import ValidationErrors, time_blocks, validation_errors
from ml_backend.jobs import publish
from ml_backend.jobs.run_job import run_here
from ml_backend.labels.snapshot import Snapshot
from ml_backend.pose.infer import Predictor
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.round_state import RoundState
from ml_backend.store import versions, work
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]


def test_blocks_are_those_of_the_split() -> None:
    keys = [FrameKey("b", 0), FrameKey("a", 49), FrameKey("a", 50), FrameKey("a", 0), FrameKey("b", 99)]
    np.testing.assert_array_equal(time_blocks(keys, dict.fromkeys([key.sequence for key in keys], 50)), [2, 0, 1, 0, 3])


def retrain(workspace: Workspace) -> VersionRow:
    run_here(workspace, work.request(workspace.store, "retrain"), lambda progress: None)
    return versions.list_versions(workspace.store)[-1]


@pytest.mark.parametrize("worse_in", [1, 2])
def test_one_bad_moment_does_not_refuse_a_model_but_all_of_them_do(
    make_workspace: Make, label: Label, monkeypatch: pytest.MonkeyPatch, worse_in: int
) -> None:
    workspace = make_workspace(val_from=20, validation={"block_frames": 8}, gate={"min_frames": 10})
    label(workspace, [0, 5, 10, *range(24, 40)])  # validation frames in two blocks of eight frames
    first = retrain(workspace)
    real = validation_errors

    def errors(now: RoundState, model: Predictor, snapshot: Snapshot, pictures: Pictures) -> ValidationErrors:
        """The old model is everywhere 1 px off; the new one 5 px worse in a block, or in both a little."""
        found = real(now, model, snapshot, pictures)
        np.testing.assert_array_equal(np.bincount(found.block), [8, 8])
        error = np.ones(16)
        if model.manifest.extra["parent"] is not None:
            error += np.where(found.block == 0, 5.0, -0.5) if worse_in == 1 else 0.5
        return ValidationErrors(error, found.block, found.mean_px, found.median_px, found.per_keypoint_px, found.mean_world)

    monkeypatch.setattr(publish, "validation_errors", errors)
    label(workspace, [15])
    second = retrain(workspace)
    live = versions.live(workspace.store)
    assert live is not None
    # frame by frame both would be refused: 5 px on half of the frames outweighs any draw of sixteen
    assert live.id == (second.id if worse_in == 1 else first.id)
    assert second.metrics["gate"].endswith("on 16 frames in 2 blocks of time")


def test_one_block_alone_cannot_decide(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace(val_from=32, gate={"min_frames": 4})
    label(workspace, [0, 5, *range(32, 40)])
    retrain(workspace)
    label(workspace, [10])
    assert retrain(workspace).metrics["gate"] == "not enough yet: the 8 frames lie in one block of time"
