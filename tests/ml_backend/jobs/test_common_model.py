"""A project that begins with a model from elsewhere: points, scores, order and G from the first minute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_backend.acquisition.score_record import ScoreRecord
from ml_backend.evaluation.batch_performance import last_batch_performance
from ml_backend.pose.source_poses import read_poses
from ml_backend.pose.weights import read_manifest
from ml_backend.project.round_state import RoundState
from ml_backend.store import generations, versions, work
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]
WorkOff = Callable[[Workspace], list[str]]
SCORES = dict.fromkeys(("wpu", "mc", "least_confidence", "jitter_3d"), 1.0)


@pytest.fixture
def beginning(make_workspace: Make, label: Label, work_off: WorkOff, tmp_path: Path) -> Callable[..., Workspace]:
    """A new project that names the model of another one, which was trained on eight frames."""

    def make(**train: Any) -> Workspace:
        elsewhere = make_workspace()
        label(elsewhere, list(range(0, 16, 2)))
        work.request(elsewhere.store, "retrain")
        work_off(elsewhere)
        live = versions.live(elsewhere.store)
        assert live is not None
        new = tmp_path / "new"
        new.mkdir()
        return make_workspace(
            store=f"sqlite:///{new}/store.sqlite3",
            models=str(new / "models"),
            arrays=str(new / "arrays"),
            scores=SCORES,
            train={"weights": str(elsewhere.models / live.path), "max_minutes": 0.02, **train},
        )

    return make


def test_the_first_order_is_that_of_the_common_model_and_so_is_the_first_training(
    beginning: Callable[..., Workspace], label: Label, work_off: WorkOff
) -> None:
    workspace = beginning(preset="video_specific")
    work.request(workspace.store, "select")
    assert work_off(workspace) == ["select", "rescore", "select"]
    live = versions.live(workspace.store)
    assert live is not None
    assert (live.number, live.metrics["validation_frames"]) == (1, 0)
    (order,) = generations.list_generations(workspace.store)
    picks = generations.list_picks(workspace.store, order.number)
    assert (order.name, len(picks)) == ("px-1.1", 12)
    window = [pick for pick in picks if pick.in_window]
    assert all(pick.poses for pick in window), "points of the common model"
    for pick in window:
        components = {item.name: item for item in ScoreRecord.from_json(pick.record or {}).components}
        assert set(components) == set(SCORES)
        assert np.isfinite(components["wpu"].raw), "fitted on the poses of the other project"
    generations.switch(workspace.store, order.number)
    label(workspace, [20, 22, 24])
    work.request(workspace.store, "retrain")
    work_off(workspace)
    newest = versions.list_versions(workspace.store)[-1]
    manifest = read_manifest(workspace.models / newest.path)
    assert (newest.number, manifest.extra["parent"], manifest.config.lr_parts) == (2, 1, (1.0, 5.0, 10.0))
    poses = read_poses(workspace.models / newest.path)
    assert poses is not None
    assert len(poses[0]) == 3, "what a later project may begin with"


def test_from_scratch_or_with_another_network_it_begins_as_ever(beginning: Callable[..., Workspace], work_off: WorkOff) -> None:
    workspace = beginning(preset="scratch")
    work.request(workspace.store, "select")
    assert work_off(workspace) == ["select"]
    assert versions.live(workspace.store) is None
    assert last_batch_performance(RoundState(workspace)).frames == 0
