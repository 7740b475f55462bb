"""The ``train`` section of parallax.yaml → the configuration of one training run.

``train.preset`` names a recipe of :mod:`ml_backend.pose.presets`, or "default": fresh before there is a model, then from the live
one, for ``steps_first`` and ``steps_round`` steps or as many as the labels ask for.  A recipe replaces optimiser, schedule,
length and augmentation; network, input, codec, seed, device and time budget stay.  Recipes that go on from an earlier version
begin with the default one.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from label_config.settings.learning_settings import Train
from label_config.values import BadInputError
from ml_backend.pose.config import Auxiliary, TrainConfig
from ml_backend.pose.device import count_processes, usable_threads
from ml_backend.pose.networks import takes
from ml_backend.pose.presets import PRESETS, WARM_PRESETS, preset

DEFAULT = "default"
#: The network that takes its weights by itself, from the hub or from a local folder.
BACKBONE = "backbone"

#: Where parallax.yaml says nothing, a run takes this many passes over its pictures, and at least so many steps
#: (docs/experiments.md); ``train.max_minutes`` bounds it.
PASSES, LEAST_STEPS = 20, 1500


def starts_warm(train: Train) -> bool:
    """A run starts from the live model when there is one.

    Raises BadInputError for an unknown preset, and for one that cannot start fresh where ``warm_start`` is off.
    """
    if train.preset not in (DEFAULT, *PRESETS):
        raise BadInputError(f"train.preset: expected one of {', '.join((DEFAULT, *PRESETS))}, got {train.preset!r}")
    if train.preset in WARM_PRESETS and not train.warm_start:
        raise BadInputError(
            f"train.preset: {train.preset!r} goes on from the live model, but train.warm_start is false; "
            "set it to true, or choose 'default' or 'scratch'"
        )
    return train.warm_start and train.preset != "scratch"


def config_for(
    train: Train, *, warm: bool, round_: int, n_targets: int = 0, auxiliary: tuple[Auxiliary, ...] = ()
) -> TrainConfig:
    """The default recipe.  Every round draws its own augmentations.

    warm       the run starts from the live model
    n_targets  pictures that one process trains on
    auxiliary  what the project's scores need beside the pose network
    """
    # A network without a word about weights starts from random ones; only the backbone takes the argument.
    own = train.network == BACKBONE and train.weights not in ("default", "none")
    pretrained = {"pretrained": train.weights} if own else _no_weights(train)
    return TrainConfig(
        network=train.network,
        network_args={**pretrained, **train.network_args} if not own else {**train.network_args, **pretrained},
        plugins=own_networks(train),
        input_px=train.input_px,
        codec=train.codec,
        sigma_hm=train.sigma_hm,
        amplitude=train.amplitude,
        grid=train.grid,
        steps=(train.steps_round if warm else train.steps_first) or max(LEAST_STEPS, PASSES * n_targets // train.batch),
        batch=train.batch,
        lr=train.lr,
        lr_parts=train.lr_parts,
        weight_decay=train.weight_decay,
        seed=train.seed + round_,
        auxiliary=auxiliary,
        device=train.device,
        precision=train.precision,
        compile=train.compile,
        threads=threads_of(train),
        max_minutes=train.max_minutes,
        checkpoint_every_s=train.checkpoint_seconds,
    )


def _no_weights(train: Train) -> dict[str, None]:
    """``weights: none`` for a network of one's own that takes weights by itself unless it is asked not to."""
    if train.weights != "none" or ":" not in train.network:
        return {}
    return {"pretrained": None} if takes(train.network, "pretrained", plugins=own_networks(train)) else {}


def own_networks(train: Train) -> tuple[str, ...]:
    """The networks of one's own that parallax.yaml names, and so allows to be imported."""
    return tuple(name for name in (train.network, *train.plugins) if ":" in name)


def processes_of(train: Train) -> int:
    """How many processes train together.  Raises BadInputError when there are not that many devices."""
    return count_processes(train.devices, train.device)


def threads_of(train: Train) -> int:
    """How many threads one process computes with on the CPU."""
    return usable_threads() if train.threads == "auto" else train.threads


def first_weights(train: Train) -> Path | None:
    """The file or model folder that a fresh start takes its weights from, None = random ones or, for a backbone, its own.

    Raises BadInputError when ``train.weights`` is neither a word of its own nor a path that exists.
    """
    if train.weights in ("default", "none") or train.network == BACKBONE:
        return None
    path = Path(train.weights)
    if not path.exists():
        raise BadInputError(
            f"train.weights: {train.weights!r} is no file or model folder; network {train.network!r} takes 'default', 'none' or "
            f"a path; names of the hub need train.network: {BACKBONE}"
        )
    return path


def recipe_for(
    train: Train,
    *,
    warm: bool,
    round_: int,
    n_targets: int,
    performance: float,
    auxiliary: tuple[Auxiliary, ...] = (),
    common: bool = False,
) -> TrainConfig:
    """The configuration by ``train.preset``.

    n_targets    pictures to train on; each of several processes sees its share
    performance  G, how good the live model was on the newly labelled frames; NaN = nothing was shown yet, taken as 0 as in
                 the first cycle of VATL4Pose (docs/methods.md §3.3)
    common       ``train.weights`` is a model of the same kind, as when one recording's model starts from that of many; a recipe
                 that goes on from an earlier version then goes on from this one
    Raises BadInputError as :func:`starts_warm`.
    """
    starts_warm(train)
    share = math.ceil(n_targets / processes_of(train))
    config = config_for(train, warm=warm, round_=round_, n_targets=share, auxiliary=auxiliary)
    fresh_start_of_a_warm_one = train.preset in WARM_PRESETS and not (warm or common)
    if train.preset != DEFAULT and not fresh_start_of_a_warm_one:
        known = 0.0 if math.isnan(performance) else performance
        config = preset(train.preset, config, n_targets=share, mean_oks=known, alpha=train.acft.epochs)
        if train.preset == "scratch":  # a smaller machine may ask for less than the paper had
            config = config.but(steps=train.steps_first or config.steps, batch=_given(train, "batch", config.batch))
    stated = train.augment.model_dump(exclude_none=True) | ({"randaugment": train.randaugment} if train.randaugment else {})
    return config.but(augment=replace(config.augment, **stated))


def _given(train: Train, name: str, otherwise: int) -> int:
    """The value that parallax.yaml states itself, else another."""
    return int(getattr(train, name)) if name in train.model_fields_set else otherwise
