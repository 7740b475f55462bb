"""The optimiser of a network whose parts learn at different rates."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ml_backend.pose.config import TrainConfig
from ml_backend.pose.networks import Part, part_of


def step_seed(seed: int, step: int) -> int:
    """A seed for torch's own generator that differs between steps and runs."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser with one group per part of the network; each group's ``factor`` multiplies the learning rate."""
    factors = dict(zip((Part.BACKBONE, Part.DECODER, Part.FINAL), config.lr_parts, strict=True)) | {Part.AUXILIARY: 1.0}
    members: dict[Part, list[nn.Parameter]] = {part: [] for part in factors}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            members[part_of(name)].append(parameter)
    groups = [{"params": found, "factor": factors[part]} for part, found in members.items() if found]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.RMSprop(groups, lr=config.lr, weight_decay=config.weight_decay)
