"""The training engine: learns, masks, resumes, survives bad input and full memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from label_config.values import BadInputError, ByteArray, ImageRef, ParallaxError
from ml_backend.pose import engine
from ml_backend.pose.checkpoint import CHECKPOINT_NAME
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.device import to_network
from ml_backend.pose.infer import Predictor
from ml_backend.pose.training import Progress, train
from ml_backend.pose.weights import WEIGHTS_NAME, read_manifest


def stop_after(steps: int) -> Callable[[], bool]:
    asked = iter([False] * steps + [True])
    return lambda: next(asked)


def test_a_handful_of_pictures_is_learnt_to_below_a_pixel(make_blobs: Any, tmp_path: Path) -> None:
    blobs = make_blobs()
    config = TrainConfig(input_px=(64, 64), steps=100, batch=6, device="cpu", augment=AugmentConfig.none())
    train(config, blobs.targets, blobs.skeleton, blobs.load, tmp_path)
    found = Predictor.load(tmp_path, "cpu").predict(blobs.images)
    assert np.linalg.norm(found.xy_px - blobs.truth, axis=-1).max() < 1
    assert found.confidence.min() > 0.5


def test_two_runs_with_one_seed_give_the_same_weights_and_another_seed_others(
    make_blobs: Any, tiny: TrainConfig, tmp_path: Path
) -> None:
    blobs = make_blobs()
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tiny.but(seed=seed), blobs.targets, blobs.skeleton, blobs.load, tmp_path / name)
        weights.append(load_file(tmp_path / name / WEIGHTS_NAME))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["final_layer.weight"], weights[2]["final_layer.weight"])


@pytest.mark.parametrize("stop_at", [1, 5, 11])
def test_a_resumed_run_repeats_the_uninterrupted_one(make_blobs: Any, tiny: TrainConfig, tmp_path: Path, stop_at: int) -> None:
    blobs = make_blobs()
    whole = train(tiny, blobs.targets, blobs.skeleton, blobs.load, tmp_path / "whole")
    asked = train(tiny, blobs.targets, blobs.skeleton, blobs.load, tmp_path / "parts", should_stop=stop_after(stop_at))
    assert asked.ending == "asked"
    assert asked.steps == stop_at
    assert asked.manifest is None
    rest = train(tiny, blobs.targets, blobs.skeleton, blobs.load, tmp_path / "parts")
    np.testing.assert_allclose(rest.losses, whole.losses, rtol=0, atol=1e-6)
    assert not (tmp_path / "parts" / CHECKPOINT_NAME).exists()
    first, second = (load_file(tmp_path / name / WEIGHTS_NAME) for name in ("whole", "parts"))
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


def test_a_run_killed_between_checkpoints_loses_only_the_steps_since_the_last(
    make_blobs: Any, tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = make_blobs()
    config = tiny.but(checkpoint_every_s=0.0)
    whole = train(config, blobs.targets, blobs.skeleton, blobs.load, tmp_path / "whole")
    step, calls = engine.Run._step, []

    def killed(self: Any, batches: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return step(self, batches)

    monkeypatch.setattr(engine.Run, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config, blobs.targets, blobs.skeleton, blobs.load, tmp_path / "killed")
    again = train(config, blobs.targets, blobs.skeleton, blobs.load, tmp_path / "killed")
    assert len(calls) == 8 + 12 - 7
    np.testing.assert_allclose(again.losses, whole.losses, rtol=0, atol=1e-6)


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_not_used(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs()
    train(tiny, blobs.targets, blobs.skeleton, blobs.load, tmp_path, should_stop=stop_after(5))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / CHECKPOINT_NAME).write_bytes((tmp_path / CHECKPOINT_NAME).read_bytes())
    other = train(tiny.but(lr=1e-3), blobs.targets, blobs.skeleton, blobs.load, tmp_path / "other", should_stop=stop_after(2))
    assert other.steps == 2
    (tmp_path / CHECKPOINT_NAME).write_bytes(b"cut off")
    assert train(tiny, blobs.targets, blobs.skeleton, blobs.load, tmp_path, should_stop=stop_after(1)).steps == 1


def test_the_same_run_is_not_repeated_once_its_model_is_there(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs()
    first = train(tiny, blobs.targets, blobs.skeleton, blobs.load, tmp_path)

    def unreachable(ref: ImageRef) -> ByteArray:
        raise AssertionError("nothing needs to be read")

    again = train(tiny, blobs.targets, blobs.skeleton, unreachable, tmp_path)
    assert again.manifest is not None
    assert first.manifest is not None
    assert again.manifest.files == first.manifest.files


def test_points_without_weight_have_no_influence(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs()
    results = []
    for name, false_place in (("a", 3.0), ("b", 60.0)):
        targets = []
        for target in blobs.targets:
            xy = target.xy_px.copy()
            xy[1] = false_place
            # A box keeps the crop the same whatever the ignored point says.
            targets.append(replace(target, xy_px=xy, weight=np.array([1.0, 0.0, 1.0]), box_px=(0.0, 0.0, 64.0, 64.0)))
        results.append(train(tiny, targets, blobs.skeleton, blobs.load, tmp_path / name))
    assert results[0].losses == results[1].losses


def test_an_unreadable_picture_is_skipped_and_reported(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs()

    def load(ref: ImageRef) -> ByteArray:
        if ref.source == "picture2":
            raise OSError("truncated file")
        picture: ByteArray = blobs.load(ref)
        return picture[..., 0] if ref.source == "picture3" else picture

    result = train(tiny, blobs.targets, blobs.skeleton, load, tmp_path)
    assert result.ending == "done"
    reasons = {skipped.image.source: skipped.reason for skipped in result.skipped}
    assert reasons.keys() == {"picture2", "picture3"}
    assert "truncated file" in reasons["picture2"]
    assert "(64, 64)" in reasons["picture3"]


def test_nothing_to_learn_from_is_a_clear_error(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs()
    with pytest.raises(BadInputError, match="none of 0 targets"):
        train(tiny, [], blobs.skeleton, blobs.load, tmp_path)
    silent = [replace(target, weight=np.zeros(3)) for target in blobs.targets]
    with pytest.raises(BadInputError, match="none of 6 targets has a keypoint"):
        train(tiny, silent, blobs.skeleton, blobs.load, tmp_path)
    wrong = [replace(blobs.targets[0], xy_px=np.zeros((2, 2)))]
    with pytest.raises(BadInputError, match=r"expected xy_px \(3, 2\)"):
        train(tiny, wrong, blobs.skeleton, blobs.load, tmp_path)

    def unreadable(ref: ImageRef) -> ByteArray:
        raise OSError("gone")

    with pytest.raises(BadInputError, match=r"none of 6 pictures could be read; .*gone"):
        train(tiny, blobs.targets, blobs.skeleton, unreadable, tmp_path)


def test_a_full_memory_halves_the_batch_and_goes_on(
    make_blobs: Any, tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = make_blobs()
    real = to_network

    def limited(crops: ByteArray, device: torch.device) -> torch.Tensor:
        if len(crops) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return real(crops, device)

    monkeypatch.setattr(engine, "to_network", limited)
    result = train(tiny.but(batch=8), blobs.targets, blobs.skeleton, blobs.load, tmp_path)
    assert (result.ending, result.batch, result.steps) == ("done", 2, tiny.steps)


def test_a_wall_clock_budget_ends_the_run_with_a_usable_model(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs()
    result = train(tiny.but(steps=100_000, max_minutes=0.005), blobs.targets, blobs.skeleton, blobs.load, tmp_path)
    assert result.ending == "time"
    assert 0 < result.steps < 100_000
    assert Predictor.load(tmp_path, "cpu").predict(blobs.images).xy_px.shape == (6, 3, 2)


def test_progress_names_step_loss_and_validation_error(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs(n=8)
    seen: list[Progress] = []
    result = train(
        tiny.but(validate_every=6),
        blobs.targets[:6],
        blobs.skeleton,
        blobs.load,
        tmp_path,
        validation=blobs.targets[6:],
        progress=seen.append,
    )
    assert [report.step for report in seen] == [6, 12]
    assert seen[-1].eta_s == 0
    assert seen[0].loss == pytest.approx(np.mean(result.losses[:6]), rel=1e-5)
    assert seen[-1].validation_px == result.validations[-1]
    assert read_manifest(tmp_path).metrics["validation_px"] == min(result.validations)


def test_training_ends_early_when_validation_stands_still(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs(n=8)
    # A rate of next to nothing: the error cannot improve after the first few validations.
    config = tiny.but(steps=200, lr=1e-12, schedule="constant", validate_every=1, stop_patience=3)
    result = train(config, blobs.targets[:6], blobs.skeleton, blobs.load, tmp_path, validation=blobs.targets[6:])
    assert result.ending == "early"
    assert result.steps < 200


def test_a_loss_that_is_no_number_names_the_learning_rate(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs()
    with pytest.raises(ParallaxError, match=r"lower train\.lr"):
        train(tiny.but(lr=1e30, optimizer="rmsprop", schedule="constant"), blobs.targets, blobs.skeleton, blobs.load, tmp_path)


def test_a_warm_start_continues_from_the_earlier_weights(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs()
    train(tiny.but(steps=60), blobs.targets, blobs.skeleton, blobs.load, tmp_path / "first")
    cold = train(tiny.but(steps=4), blobs.targets, blobs.skeleton, blobs.load, tmp_path / "cold")
    warm = train(tiny.but(steps=4), blobs.targets, blobs.skeleton, blobs.load, tmp_path / "warm", init=tmp_path / "first")
    assert warm.losses[0] < 0.8 * cold.losses[0]


def test_a_cache_that_holds_nothing_changes_nothing_but_time(make_blobs: Any, tiny: TrainConfig, tmp_path: Path) -> None:
    blobs = make_blobs()
    cached = train(tiny, blobs.targets, blobs.skeleton, blobs.load, tmp_path / "a")
    uncached = train(tiny.but(cache_mb=0), blobs.targets, blobs.skeleton, blobs.load, tmp_path / "b")
    assert cached.losses == uncached.losses
