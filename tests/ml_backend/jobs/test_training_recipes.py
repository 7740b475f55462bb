"""``train.preset``: which recipe a retraining follows, where it starts, and what it trains on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.settings.spec import Train
from label_config.values import BadInputError, TrainingTarget
from ml_backend.jobs.replay import held_out, misestimated
from ml_backend.jobs.run_job import run_here
from ml_backend.metrics.oks import pose_oks
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.presets import PRESETS
from ml_backend.pose.training import TrainResult, train
from ml_backend.pose.weights import read_manifest
from ml_backend.project.label_snapshot import collect
from ml_backend.project.training_config import config_for, first_weights, recipe_for, starts_warm
from ml_backend.store import versions, work
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(BadInputError, match=r"expected one of default, scratch, .*hybrid.* got 'acdc'"):
        starts_warm(Train(preset="acdc"))


@pytest.mark.parametrize("name", ["default", *PRESETS])
def test_where_a_recipe_starts(name: str) -> None:
    assert starts_warm(Train(preset=name)) == (name != "scratch")
    if name in ("default", "scratch"):
        assert not starts_warm(Train(preset=name, warm_start=False))
    else:
        with pytest.raises(BadInputError, match="warm_start is false"):
            starts_warm(Train(preset=name, warm_start=False))


def test_default_and_first_runs_follow_the_settings_alone() -> None:
    settings = Train(steps_first=70, steps_round=30)
    first = recipe_for(settings, warm=False, round_=0, n_targets=10, performance=float("nan"))
    later = recipe_for(settings, warm=True, round_=1, n_targets=10, performance=0.5)
    assert (first.steps, later.steps) == (70, 30)
    assert later == config_for(settings, warm=True, round_=1)
    for name in set(PRESETS) - {"scratch"}:
        fresh = recipe_for(
            settings.model_copy(update={"preset": name}), warm=False, round_=0, n_targets=10, performance=float("nan")
        )
        assert fresh == first, "before there is a model, a recipe that goes on from one begins like the default"


@pytest.mark.parametrize(
    ("n_targets", "devices", "steps"),
    [(100, 1, 1500), (600, 1, 1500), (1000, 1, 2500), (1000, 2, 1500), (4000, 2, 5000)],
    ids=["few pictures", "20 · 600 / 8 = 1500", "20 · 1000 / 8", "each of two sees 500", "each of two sees 2000"],
)
def test_training_lasts_as_long_as_the_labels_ask_for(n_targets: int, devices: int, steps: int) -> None:
    settings = Train(batch=8, devices=devices, device="cpu")
    for warm in (True, False):
        found = recipe_for(settings, warm=warm, round_=1, n_targets=n_targets, performance=float("nan"))
        assert found.steps == steps


def test_acft_trains_the_longer_the_worse_the_last_batch_was() -> None:
    settings = Train(preset="acft", batch=8)

    def steps(performance: float) -> int:
        return recipe_for(settings, warm=True, round_=2, n_targets=16, performance=performance).steps

    assert steps(0.6) == 100 * 16 // 8  # 250 · (1 − 0.6) epochs
    assert steps(0.9) == 25 * 16 // 8
    assert steps(float("nan")) == 250 * 16 // 8  # nothing was shown yet: G = 0


def test_network_input_seed_and_budget_are_those_of_the_settings() -> None:
    settings = Train(preset="hybrid", input_px=(96, 64), seed=7, max_minutes=3)
    config = recipe_for(settings, warm=True, round_=4, n_targets=10, performance=0.5)
    assert (config.input_px, config.seed, config.max_minutes, config.network) == ((96, 64), 11, 3, "unet_small")
    assert (config.schedule, config.stop_patience) == ("plateau", 35)


def test_the_weights_to_start_from(tmp_path: Path) -> None:
    file = tmp_path / "start.safetensors"
    file.touch()
    for network, weights, arguments, init in (
        ("unet_small", "default", {}, None),
        ("unet_small", "none", {}, None),
        ("unet_small", str(file), {}, file),
        ("backbone", "microsoft/resnet-18", {"pretrained": "microsoft/resnet-18"}, None),
        ("backbone", "none", {}, None),
    ):
        settings = Train(network=network, weights=weights)
        assert config_for(settings, warm=False, round_=0).network_args == arguments
        assert first_weights(settings) == init
    with pytest.raises(BadInputError, match=r"names of the hub need train\.network: backbone"):
        first_weights(Train(weights="microsoft/resnet-18"))


def test_oks_of_a_pose_is_the_mean_over_labelled_views() -> None:
    truth = np.zeros((2, 2, 3, 2))
    truth[..., 0, :], truth[..., 1, :], truth[..., 2, :] = (0, 0), (10, 0), (0, 20)  # boxes of 10 × 20 px
    placed = np.ones((2, 2, 3), dtype=np.bool_)
    placed[1, 1, 1:] = False  # one point has no area
    sigmas = np.full(3, 0.1)
    off = truth.copy()
    off[0, 1] += [np.sqrt(2 * 200) * 2 * 0.1, 0.0]  # d² = 2 · area · (2σ)² gives e⁻¹
    np.testing.assert_allclose(pose_oks(off, truth, placed, sigmas), [(1 + np.exp(-1)) / 2, 1.0])
    assert np.isnan(pose_oks(off, truth, np.zeros_like(placed), sigmas)).all()


def test_early_stopping_looks_at_the_same_tenth_every_round(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace(val_from=40)
    label(workspace, list(range(0, 40, 2)))
    small = collect(workspace)
    label(workspace, list(range(1, 40, 2)))
    large = collect(workspace)
    before = {small.keys[i] for i in small.rows("train")[held_out(small, small.rows("train"), 3)]}
    after = {large.keys[i] for i in large.rows("train")[held_out(large, large.rows("train"), 3)]}
    assert before == after & set(small.keys)
    assert 0 < len(after) < 12  # 40 · 0.1 = 4


def retrain(workspace: Workspace) -> VersionRow:
    run_here(workspace, work.request(workspace.store, "retrain"), lambda progress: None)
    live = versions.live(workspace.store)
    assert live is not None
    return live


@pytest.mark.parametrize(("preset", "parent"), [("scratch", None), ("video_specific", 1)])
def test_a_round_follows_the_preset(make_workspace: Make, label: Label, preset: str, parent: int | None) -> None:
    workspace = make_workspace(train={"preset": preset})
    label(workspace, [0, 5])
    retrain(workspace)
    label(workspace, [10])
    manifest = read_manifest(workspace.models / retrain(workspace).path)
    assert manifest.extra["parent"] == parent
    assert manifest.config.optimizer == ("adam" if preset == "scratch" else "adamw")


def test_acft_replays_new_frames_and_those_still_wrong(
    make_workspace: Make, label: Label, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace()
    label(workspace, [0, 5, 10])
    version = retrain(workspace)
    label(workspace, [15])
    snapshot = collect(workspace)
    known = {0: 0.95, 5: 0.2, 10: 0.84}  # 0.8 and the margin of 0.05 are good enough

    def similarities(*arguments: Any) -> Any:
        return np.array([known[snapshot.keys[i].index] for i in arguments[3]])

    monkeypatch.setattr("ml_backend.jobs.replay.similarities", similarities)
    rows = misestimated(workspace, version, snapshot, snapshot.rows("train"), None)  # type: ignore[arg-type]
    assert [snapshot.keys[i].index for i in rows] == [5, 10, 15]


def test_acft_in_the_loop(make_workspace: Make, label: Label, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace(train={"preset": "acft", "max_minutes": 0.02})
    label(workspace, [0, 5])
    retrain(workspace)
    label(workspace, [10])
    seen: list[set[int]] = []

    def spy(config: TrainConfig, targets: list[TrainingTarget], *rest: Any, **more: Any) -> TrainResult:
        seen.append({target.key.index for target in targets if target.key is not None})
        return train(config, targets, *rest, **more)

    monkeypatch.setattr("ml_backend.jobs.training_run.train", spy)
    manifest = read_manifest(workspace.models / retrain(workspace).path)
    assert manifest.config.lr_parts == (1.0, 5.0, 10.0)
    assert manifest.extra["parent"] == 1
    assert seen == [{0, 5, 10}], "after a few steps of training every old frame is still wrong"


def test_hybrid_stops_early_on_frames_that_it_does_not_train_on(
    make_workspace: Make, label: Label, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(train={"preset": "hybrid", "max_minutes": 0.02})
    label(workspace, list(range(0, 30, 3)))
    retrain(workspace)
    calls: list[tuple[set[int], set[int]]] = []

    def spy(config: TrainConfig, targets: list[TrainingTarget], *rest: Any, **more: Any) -> TrainResult:
        mine, apart = ({t.key.index for t in part if t.key is not None} for part in (targets, more["validation"]))
        calls.append((mine, apart))
        return train(config, targets, *rest, **more)

    monkeypatch.setattr("ml_backend.jobs.training_run.train", spy)
    monkeypatch.setattr("ml_backend.jobs.retrain_job.held_out", lambda snapshot, rows, seed: rows % 4 == 1)
    label(workspace, [31])
    retrain(workspace)
    mine, apart = calls[0]
    assert not mine & apart
    assert mine | apart == {*range(0, 30, 3), 31}
    assert len(apart) == 3  # rows 1, 5 and 9


@pytest.mark.parametrize("name", ["default", "scratch", "acft"])
def test_randaugment_joins_every_recipe(name: str) -> None:
    plain, with_it = (Train(preset=name, randaugment=value) for value in (None, (2, 9.0)))
    recipes = [recipe_for(train, warm=False, round_=0, n_targets=40, performance=0.5) for train in (plain, with_it)]
    assert recipes[1].augment.randaugment == (2, 9.0)
    assert recipes[1].but(augment=recipes[0].augment) == recipes[0]
