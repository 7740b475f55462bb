"""Training recipes of the literature as named presets (docs/methods.md §7).

``scratch``         Feng et al.: a fresh network each round, Adam 1e-3, ÷10 at step 2,500 of 5,000, batches of 32, no augmentation
``continue``        our default after the first round: OneCycle from the previous version's weights
``acft``            Taketsugu & Ukita: continued fine-tuning whose length follows how well the new labels were predicted
``personalise``     Pavlakos et al.: masked loss on selected keypoints, narrow targets, RMSprop, few epochs
``hybrid``          Kaplan et al.: continued training, plateau decay, early stopping
``video_specific``  Taketsugu & Ukita: one model per recording, by ACFT from a common one
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from label_config.values import BoolArray, FloatArray
from label_config.values.errors import ModelError
from ml_backend.pose.config import AugmentConfig, TrainConfig

#: Bounds on the number of fine-tuning epochs; the paper's rule gives 0 for G > 0.996, which would change nothing.
MIN_EPOCHS, MAX_EPOCHS = 2, 250
#: α of ACFT: epochs for a batch that was predicted as badly as can be.
ALPHA = 250.0


def steps_of(epochs: float, n_targets: int, batch: int) -> int:
    """Optimiser steps in ``epochs`` passes over ``n_targets`` crops."""
    return max(math.ceil(epochs * n_targets / batch), 1)


def acft_epochs(mean_oks: float, alpha: float = ALPHA) -> int:
    """Epochs for a batch whose predictions had mean OKS G before training: round(α(1 − G)) within bounds (§3.4).

    Raises BadInputError for G outside [0, 1].
    """
    if not 0 <= mean_oks <= 1:
        raise ModelError(f"acft: expected a mean OKS in [0, 1], got {mean_oks}")
    # Rounded first to twelve digits: 250 · (1 − 0.9) is 24.99… in binary.
    return int(np.clip(round(round(alpha * (1 - mean_oks), 12)), MIN_EPOCHS, max(round(alpha), MIN_EPOCHS)))


def acft_training_set(oks: FloatArray, is_new: BoolArray, theta: float = 1.0, margin: float = 0.05) -> BoolArray:
    """(m,) True for the labelled frames to train on: the new ones and those still misestimated, OKS ≤ θ + margin (§3.4).

    ``oks`` (m,) under the current model, NaN = not known, which counts as misestimated.  With the default θ = 1 every
    labelled frame is replayed.
    """
    return np.asarray(is_new | ~(oks > theta + margin))


@dataclass(frozen=True)
class Round:
    """What the length of a recipe follows.

    n_targets  crops to train on
    mean_oks   G, how well the newly labelled frames were predicted before training; None = not known
    alpha      epochs for G = 0
    """

    n_targets: int
    mean_oks: float | None
    alpha: float


def _scratch(base: TrainConfig, cycle: Round) -> TrainConfig:
    return base.but(
        optimizer="adam",
        lr=1e-3,
        weight_decay=0.0,
        schedule="steps",
        drops=(0.5,),
        decay=0.1,
        steps=5000,
        batch=32,
        augment=AugmentConfig.none(),
    )


def _continue(base: TrainConfig, cycle: Round) -> TrainConfig:
    return base.but(schedule="onecycle", optimizer="adamw")


def _acft(base: TrainConfig, cycle: Round) -> TrainConfig:
    if cycle.mean_oks is None:
        raise ModelError("preset 'acft': needs the mean OKS of the newly labelled frames under the current model, got none")
    return base.but(
        optimizer="adamw",
        lr=2.5e-4,
        weight_decay=0.7,
        lr_parts=(1.0, 5.0, 10.0),
        schedule="exponential",
        decay=0.99,
        steps=steps_of(acft_epochs(cycle.mean_oks, cycle.alpha), cycle.n_targets, base.batch),
        augment=AugmentConfig(rotation_deg=40, scale=0.3),
    )


def _personalise(base: TrainConfig, cycle: Round) -> TrainConfig:
    return base.but(
        optimizer="rmsprop",
        lr=2.5e-4,
        weight_decay=0.0,
        schedule="constant",
        sigma_hm=1.0,
        batch=4,
        steps=steps_of(4, cycle.n_targets, 4),
        augment=AugmentConfig(rotation_deg=30, scale=0.25),
    )


def _hybrid(base: TrainConfig, cycle: Round) -> TrainConfig:
    per_epoch = steps_of(1, cycle.n_targets, 4)
    return base.but(
        optimizer="adam",
        lr=1e-4,
        weight_decay=0.0,
        schedule="plateau",
        decay=0.5,
        patience=10,
        stop_patience=35,
        batch=4,
        validate_every=per_epoch,
        steps=per_epoch * MAX_EPOCHS,
        augment=AugmentConfig(rotation_deg=30, scale=0.4, shift=0.0625, brightness=0.3, contrast=0.3),
    )


def _video_specific(base: TrainConfig, cycle: Round) -> TrainConfig:
    return _acft(base, replace(cycle, mean_oks=cycle.mean_oks or 0.0))


_Preset = Callable[[TrainConfig, Round], TrainConfig]

_PRESETS: dict[str, _Preset] = {
    "scratch": _scratch,
    "continue": _continue,
    "acft": _acft,
    "personalise": _personalise,
    "hybrid": _hybrid,
    "video_specific": _video_specific,
}

PRESETS = tuple(_PRESETS)

#: The presets that start from an earlier version's weights.
WARM_PRESETS = frozenset(PRESETS) - {"scratch"}


def preset(name: str, base: TrainConfig, *, n_targets: int, mean_oks: float | None = None, alpha: float = ALPHA) -> TrainConfig:
    """``base`` with the recipe's optimiser, schedule, length and augmentation; network, input and device stay.

    n_targets  crops to train on, for recipes counted in epochs
    mean_oks   how well the newly labelled frames were predicted before training (acft, video_specific), None = not known
    alpha      epochs of these two for a batch that was predicted as badly as can be
    Raises BadInputError for an unknown name or a missing figure.
    """
    if name not in _PRESETS:
        raise ModelError(f"training preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    if n_targets < 1:
        raise ModelError(f"training preset {name!r}: expected at least one target, got {n_targets}")
    return _PRESETS[name](base, Round(n_targets, mean_oks, alpha))
