"""Recipes: closed forms of their lengths and rates, and kill and resume for every one."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.pose import engine
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.lr_finder import find_learning_rate, smoothed, suggested_rate
from ml_backend.pose.networks import build_network
from ml_backend.pose.optimizer import make_optimizer
from ml_backend.pose.presets import PRESETS, acft_epochs, acft_training_set, preset, steps_of
from ml_backend.pose.schedules import learning_rate, one_cycle, plateau_drops, since_best
from ml_backend.pose.training import train


@pytest.mark.parametrize(
    ("mean_oks", "epochs"),
    [(0.6, 100), (0.9, 25), (0.98, 5), (0.999, 2), (1.0, 2), (0.0, 250)],  # 250·(1 − G), at least 2
)
def test_acft_trains_longer_where_predictions_were_worse(mean_oks: float, epochs: int) -> None:
    assert acft_epochs(mean_oks) == epochs


def test_acft_needs_a_sensible_figure() -> None:
    with pytest.raises(BadInputError, match=r"\[0, 1\]"):
        acft_epochs(1.2)
    with pytest.raises(BadInputError, match="mean OKS"):
        preset("acft", TrainConfig(), n_targets=4)


def test_acft_replays_what_is_still_misestimated() -> None:
    oks = np.array([0.2, 0.95, 0.5, np.nan, 0.97])
    is_new = np.array([False, False, False, False, True])
    np.testing.assert_array_equal(acft_training_set(oks, is_new, theta=0.8), [True, False, True, True, True])
    assert acft_training_set(oks, is_new).all()


def test_epochs_become_steps() -> None:
    assert steps_of(4, 10, 4) == 10
    assert steps_of(1, 1, 8) == 1
    config = preset("acft", TrainConfig(batch=8), n_targets=20, mean_oks=0.9)
    assert config.steps == steps_of(25, 20, 8) == 63
    assert config.lr_parts == (1, 5, 10)


def test_each_part_of_the_network_has_its_own_rate() -> None:
    config = preset("acft", TrainConfig(), n_targets=20, mean_oks=0.9)
    network = build_network("unet_small", 3)
    groups = make_optimizer(network, config).param_groups
    assert [group["factor"] for group in groups] == [1, 5, 10]
    assert [len(group["params"]) for group in groups][-1] == 2
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def killing(real: Any, after: int) -> Any:
    """Ends the process, as far as the run can see, in the step after ``after`` ones."""
    steps = iter(range(after))

    def losses(self: Any, batch: Any) -> Any:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return real(self, batch)

    return losses


def stopped(run: Any, after: int) -> None:
    """Asked to stop between two steps."""
    asked = iter([False] * after + [True])
    run(should_stop=lambda: next(asked))


def killed(run: Any, after: int) -> None:
    """Killed inside a step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.Run, "_losses", killing(engine.Run._losses, after))
        with pytest.raises(KeyboardInterrupt):
            run()


@pytest.mark.parametrize(("interrupted", "checkpoint_every_s"), [(stopped, 1e9), (killed, 0.0)])
@pytest.mark.parametrize("name", PRESETS)
def test_every_recipe_is_interrupted_resumes_and_repeats_itself(
    make_blobs: Any, tiny: TrainConfig, tmp_path: Path, name: str, interrupted: Any, checkpoint_every_s: float
) -> None:
    blobs = make_blobs(n=8)
    # Sixteen crops per epoch of two steps; the figures of long recipes are cut to a dozen steps.
    config = preset(name, tiny.but(batch=4), n_targets=6, mean_oks=0.99)
    config = config.but(steps=min(config.steps, 12), validate_every=min(config.validate_every, 2), patience=1)
    config = config.but(checkpoint_every_s=checkpoint_every_s)
    arguments = (config, blobs.targets[:6], blobs.skeleton, blobs.load)
    validation = blobs.targets[6:] if config.validate_every else ()
    whole = train(*arguments, tmp_path / "whole", validation=validation)
    run = partial(train, *arguments, tmp_path / "parts", validation=validation)
    interrupted(run, config.steps // 2)
    parts = run()
    assert len(parts.losses) == config.steps
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=0, atol=1e-6)
    np.testing.assert_allclose(parts.validations, whole.validations, rtol=0, atol=1e-5)


def test_an_unknown_recipe_is_a_clear_error() -> None:
    with pytest.raises(BadInputError, match="expected one of scratch, continue"):
        preset("magic", TrainConfig(), n_targets=3)
    with pytest.raises(BadInputError, match="at least one target"):
        preset("scratch", TrainConfig(), n_targets=0)


def test_one_cycle_starts_at_a_25th_peaks_at_30_percent_and_ends_at_nothing() -> None:
    assert one_cycle(0) == pytest.approx(1 / 25)
    assert one_cycle(0.3) == pytest.approx(1)
    assert one_cycle(0.15) == pytest.approx((1 + 1 / 25) / 2)
    assert one_cycle(1) < 1e-5
    rates = [one_cycle(x) for x in np.linspace(0.3, 1, 50)]
    assert all(a > b for a, b in pairwise(rates))


def test_schedules_in_closed_form() -> None:
    base = TrainConfig(lr=1.0)
    exponential = base.but(schedule="exponential", decay=0.99)
    assert learning_rate(exponential, 0.5, 2.7, []) == pytest.approx(0.99**2)
    dropping = base.but(schedule="steps", drops=(0.5, 0.8), decay=0.1)
    assert [learning_rate(dropping, p, 0, []) for p in (0.49, 0.5, 0.9)] == pytest.approx([1, 0.1, 0.01])
    assert learning_rate(base.but(schedule="constant"), 0.9, 0, []) == 1


def test_a_plateau_is_more_than_patience_validations_without_progress() -> None:
    assert plateau_drops([5, 4, 4, 4], patience=2) == 0
    assert plateau_drops([5, 4, 4, 4, 4], patience=2) == 1
    assert plateau_drops([5, 4, 4, 4, 4, 3, 3, 3, 3], patience=2) == 2
    assert since_best([]) == 0
    assert since_best([3, 1, 2, 1.5]) == 2


def test_the_suggested_rate_is_where_the_loss_falls_fastest() -> None:
    lr = np.geomspace(1e-5, 1, 101, dtype=np.float64)
    loss = 1 / (1 + np.exp(4 * (np.log10(lr) + 2)))  # a sigmoid in the logarithm, steepest at 1e-2
    assert suggested_rate(lr, loss) == pytest.approx(1e-2, rel=0.15)
    np.testing.assert_allclose(smoothed(np.full(5, 3.0)), 3.0)
    assert np.isfinite(smoothed(np.array([1.0, np.inf, 2.0]))).all()


def test_the_range_test_finds_a_rate_that_trains(make_blobs: Any, tiny: TrainConfig) -> None:
    blobs = make_blobs()
    found = find_learning_rate(tiny, blobs.targets, blobs.skeleton, blobs.load, lowest=1e-5, steps=40)
    assert 1e-5 < found.suggestion < 0.5
    assert len(found.lr) == len(found.loss) <= 40
