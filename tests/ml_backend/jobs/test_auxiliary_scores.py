"""A project that names scores of auxiliary networks gets these networks trained, and the scores their input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from label_config.settings.learning_settings import ScoreSettings
from ml_backend.jobs import retrain_job as retrain_module
from ml_backend.jobs.retrain_job import same_network
from ml_backend.pose.training import TrainResult, train
from ml_backend.pose.weights import read_manifest, read_tensors
from ml_backend.project.round_state import RoundState
from ml_backend.store import versions, work
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]
WorkOff = Callable[[Workspace], list[str]]

SCORES = {"mc": 1.0, "vl4pose": 1.0, "aleatoric": 1.0, "learning_loss": 0.5}


def with_scores(workspace: Workspace, scores: dict[str, float]) -> Workspace:
    """The same project after an edit of parallax.yaml."""
    settings = {name: ScoreSettings(weight=weight) for name, weight in scores.items()}
    return replace(workspace, spec=workspace.spec.model_copy(update={"scores": settings}))


def round_of(workspace: Workspace, work_off: WorkOff) -> tuple[VersionRow, dict[str, npt.NDArray[Any]]]:
    """One round; the live version and everything that its shards say."""
    work.request(workspace.store, "retrain")
    assert work_off(workspace) == ["retrain", "rescore", "select"]
    live = versions.live(workspace.store)
    assert live is not None
    current = versions.current_round(workspace.store)
    shards = work.list_shards(workspace.store, live.id, current)
    assert all(shard.status == "done" for shard in shards)
    parts = [workspace.arrays.load(shard.path) for shard in shards if shard.path]
    return live, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_scores_of_auxiliary_networks_have_values_in_the_loop(make_workspace: Make, label: Label, work_off: WorkOff) -> None:
    workspace = make_workspace(scores=SCORES)
    label(workspace, [0, 8, 16, 24])
    live, said = round_of(workspace, work_off)
    assert read_manifest(workspace.models / live.path).config.auxiliary == ("links", "aleatoric", "learning_loss")
    for name in SCORES:
        assert np.isfinite(said[f"raw.{name}"]).all(), name
        assert len(np.unique(said[f"raw.{name}"])) > 1, name


def test_a_model_without_auxiliary_networks_is_gone_on_from(
    make_workspace: Make, label: Label, work_off: WorkOff, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make_workspace(scores={"mc": 1.0})
    label(plain, [0, 8])
    first, said = round_of(plain, work_off)
    assert "raw.vl4pose" not in said
    workspace = with_scores(plain, SCORES)
    assert same_network(workspace, first)
    label(workspace, [16])

    def still(config: Any, *rest: Any, **more: Any) -> TrainResult:
        return train(config.but(lr=1e-12, weight_decay=0.0, schedule="constant"), *rest, **more)

    monkeypatch.setattr("ml_backend.jobs.training_run.train", still)
    second, said = round_of(workspace, work_off)
    assert all(np.isfinite(said[f"raw.{name}"]).all() for name in SCORES)
    manifest = read_manifest(workspace.models / second.path)
    assert manifest.extra["parent"] == first.number
    before, after = (read_tensors(workspace.models / version.path) for version in (first, second))
    assert {name.split(".")[1] for name in set(after) - set(before)} == {"links", "aleatoric", "learning_loss"}
    # with a rate of nothing the old weights come through, so they were taken over
    for name in (name for name in before if name.endswith("weight")):
        np.testing.assert_allclose(after[name].numpy(), before[name].numpy(), atol=1e-6, err_msg=name)


def test_another_score_is_another_run_from_the_same_labels(make_workspace: Make, label: Label, work_off: WorkOff) -> None:
    """Same snapshot, same parent, other auxiliary networks: the earlier run's folder must not be taken for this one's."""
    from ml_backend.project.training_set import model_folder_name, snapshot_of_job, training_rows

    plain = make_workspace(scores={"mc": 1.0})
    label(plain, [0, 8])
    job = work.claim(plain.store, work.request(plain.store, "retrain").id, "me")
    assert job is not None
    row, snapshot, _ = snapshot_of_job(RoundState(plain), job)
    names = set()
    for scores in ({"mc": 1.0}, {"mc": 1.0, "vl4pose": 0.0}, {"mc": 2.0}):
        workspace = with_scores(plain, scores)
        rows = training_rows(workspace, snapshot)
        *_, config = retrain_module._targets_and_config(RoundState(workspace), row, snapshot, rows, None, None)
        names.add(model_folder_name(row, None, config.to_json()))
    assert len(names) == 2


def test_another_backbone_is_another_network(make_workspace: Make, label: Label, work_off: WorkOff) -> None:
    workspace = make_workspace(train={"network_args": {"width": 8}})
    label(workspace, [0, 8])
    live, _ = round_of(workspace, work_off)
    assert same_network(workspace, live)
    wider = workspace.spec.train.model_copy(update={"network_args": {"width": 12}})
    assert not same_network(replace(workspace, spec=workspace.spec.model_copy(update={"train": wider})), live)
