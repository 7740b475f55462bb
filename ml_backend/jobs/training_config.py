"""The ``train`` section of parallax.yaml → the configuration of one training run."""

from __future__ import annotations

from label_config.spec import Train
from ml_backend.pose.config import TrainConfig


def config_for(train: Train, *, warm: bool, round_: int) -> TrainConfig:
    """``warm``: the run starts from the live model, so it is shorter.  Every round draws its own augmentations."""
    arguments = {} if train.weights == "default" else {"pretrained": None if train.weights == "none" else train.weights}
    return TrainConfig(
        network=train.network,
        network_args=arguments,
        input_px=train.input_px,
        codec=train.codec,
        sigma_hm=train.sigma_hm,
        steps=train.steps_round if warm else train.steps_first,
        batch=train.batch,
        lr=train.lr,
        weight_decay=train.weight_decay,
        seed=train.seed + round_,
        device=train.device,
        max_minutes=train.max_minutes,
        checkpoint_every_s=train.checkpoint_seconds,
    )
