"""``train.preset``: which recipe a retraining follows, where it starts, and what it trains on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.settings.learning_settings import AcftSettings, Augment, Train
from label_config.values import BadInputError, TrainingTarget
from ml_backend.jobs.replay import early_stop_part, misestimated
from ml_backend.jobs.run_job import run_here
from ml_backend.labels.split import SplitRule
from ml_backend.metrics.oks import pose_oks
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.presets import PRESETS
from ml_backend.pose.training import TrainResult, train
from ml_backend.pose.weights import read_manifest
from ml_backend.project.label_snapshot import collect
from ml_backend.project.round_state import RoundState
from ml_backend.project.training_config import config_for, first_weights, recipe_for, starts_warm
from ml_backend.store import frames, presence, versions, work
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


@pytest.mark.parametrize("name", ["default", "scratch"])
def test_a_recipe_may_start_anew(name: str) -> None:
    assert not starts_warm(Train(preset=name, warm_start=False))


@pytest.mark.parametrize("name", sorted({*PRESETS} - {"scratch"}))
def test_a_recipe_that_goes_on_from_a_model_refuses_to_start_anew(name: str) -> None:
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
    settings = Train(preset="acft", batch=8, acft=AcftSettings(epochs=400))
    assert steps(0.6) == 160 * 16 // 8
    assert steps(0.0) == 400 * 16 // 8


def test_scratch_is_the_printed_recipe_unless_parallax_yaml_asks_for_less() -> None:
    """Feng et al.: 5,000 steps with batches of 32, rate 1e-3 and a tenth of it from step 2,500, no augmentation."""

    def recipe(**settings: Any) -> TrainConfig:
        return recipe_for(Train(preset="scratch", **settings), warm=False, round_=3, n_targets=10, performance=0.5)

    printed = recipe()
    assert (printed.steps, printed.batch, printed.lr, printed.optimizer) == (5000, 32, 1e-3, "adam")
    assert (printed.drops[0] * printed.steps, printed.decay) == (2500, 0.1)
    assert printed.augment == AugmentConfig.none()
    assert recipe(randaugment=(2, 9.0)).augment == replace(AugmentConfig.none(), randaugment=(2, 9.0))
    assert (recipe(steps_first=300, batch=8).steps, recipe(batch=8).batch) == (300, 8)


def test_a_training_that_its_time_ends_says_so(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace(train={"preset": "scratch", "max_minutes": 0.01, "steps_first": None})
    label(workspace, [0, 5])
    retrain(workspace)
    (said,) = [event.text for event in presence.list_events(workspace.store) if event.text.startswith("train.max_minutes")]
    assert "of its 5000 steps (scratch)" in said


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


def test_early_stopping_evaluates_whole_blocks_of_time_the_same_in_every_round(make_workspace: Make, label: Label) -> None:
    """Frames 0 to 39 in blocks of 2 with a guard of 1: a tenth of 20 blocks, and no training frame next to them."""
    workspace = make_workspace(val_from=40)
    sequence = frames.list_frames(workspace.store)[0].key.sequence
    frames.save_split(workspace.store, sequence, SplitRule(0.2, 2, 1).to_json())
    label(workspace, list(range(0, 40, 2)))
    small = collect(workspace)
    label(workspace, list(range(1, 40, 2)))
    large = collect(workspace)
    now = RoundState(workspace)
    part = dict(zip([key.index for key in large.keys], early_stop_part(now, large, large.rows("train")), strict=True))
    held = sorted(index for index, of in part.items() if of == "val")
    assert len(held) == 4
    assert {index // 2 for index in held} == {held[0] // 2, held[2] // 2}, "whole blocks"
    beside = {index + away for index in held for away in (-1, 1)} - set(held)
    assert {index for index, of in part.items() if of == "guard"} == beside & set(part)
    before = dict(zip([key.index for key in small.keys], early_stop_part(now, small, small.rows("train")), strict=True))
    assert before == {index: of for index, of in part.items() if index in before}


def retrain(workspace: Workspace) -> VersionRow:
    run_here(workspace, work.request(workspace.store, "retrain"), lambda progress: None)
    live = versions.live(workspace.store)
    assert live is not None
    return live


@pytest.mark.parametrize(("preset", "parent"), [("scratch", None), ("video_specific", 1)])
def test_a_round_follows_the_preset(make_workspace: Make, label: Label, preset: str, parent: int | None) -> None:
    workspace = make_workspace(train={"preset": preset, "max_minutes": 0.02})
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
    known = {0: 0.95, 5: 0.2, 10: 0.84}

    def similarities(*arguments: Any) -> Any:
        return np.array([known[snapshot.keys[i].index] for i in arguments[3]])

    monkeypatch.setattr("ml_backend.jobs.replay.similarities", similarities)

    def trained_on(**sections: Any) -> list[int]:
        other = replace(workspace, spec=workspace.spec.model_validate(workspace.spec.model_dump() | sections))
        rows = misestimated(RoundState(other), version, snapshot, snapshot.rows("train"), None)  # type: ignore[arg-type]
        return [snapshot.keys[i].index for i in rows]

    assert trained_on() == [5, 10, 15], "up to 0.8, that of the stop advice, and the margin of 0.05"
    assert trained_on(stop={"oks": 0.5}) == [5, 15]
    margin = workspace.spec.train.model_dump() | {"acft": {"margin": 0.2}}
    assert trained_on(train=margin) == [0, 5, 10, 15]


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
    monkeypatch.setattr(
        "ml_backend.jobs.retrain_job.early_stop_part",
        lambda workspace, snapshot, rows: np.where(rows % 4 == 1, "val", "train"),
    )
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


@pytest.mark.parametrize("name", ["default", "scratch", "acft"])
def test_augmentation_that_is_stated_replaces_the_recipes_and_leaves_the_rest(name: str) -> None:
    plain, stated = (Train(preset=name, augment=Augment(**value)) for value in ({}, {"rotation_deg": 90.0, "noise": 5.0}))
    recipes = [recipe_for(train, warm=False, round_=0, n_targets=40, performance=0.5) for train in (plain, stated)]
    assert recipes[1].augment == replace(recipes[0].augment, rotation_deg=90, noise=5)
    assert recipes[1].but(augment=recipes[0].augment) == recipes[0]


@pytest.mark.parametrize("wrong", [{"rotation_deg": 181}, {"scale": 1.0}, {"shift": -0.1}, {"turn": 5}])
def test_augmentation_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Augment(**wrong)
