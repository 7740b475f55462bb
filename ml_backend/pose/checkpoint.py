"""Checkpoints of a training run: one safetensors file with the run's position as JSON in its header.

Random numbers need no place here: every batch and every step draws from a generator seeded by (seed, position),
so the position alone determines all that follows.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from label_config.values.refusing import cause_of
from ml_backend.pose.model_files import replacing

log = logging.getLogger("parallax.training")

CHECKPOINT_NAME = "checkpoint.safetensors"


@dataclass
class Position:
    """How far a run has come.

    run          hash of configuration, targets and start; a checkpoint of another run is ignored
    step         optimiser steps done
    drawn        training crops drawn
    batch        crops per step of each process, smaller than configured after memory ran out
    seconds      time spent in steps, over all attempts
    losses       loss of every step done
    validations  validation error in input pixels, oldest first
    """

    run: str
    batch: int
    step: int = 0
    drawn: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    validations: list[float] = field(default_factory=list)


def save_checkpoint(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, position: Position, best: dict[str, Tensor] | None
) -> None:
    """Write everything that is needed to go on exactly here.  ``best`` are the weights of the best validation."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items() if value is not None}
    tensors |= {f"best.{name}": value for name, value in (best or {}).items()}
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    header = {"position": json.dumps(asdict(position))}
    with replacing(folder / CHECKPOINT_NAME) as path:
        save_file(plain, path, metadata=header)


def load_checkpoint(
    folder: Path, run: str, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Position, dict[str, Tensor] | None] | None:
    """Put network and optimiser back to where the run was; None when there is nothing usable to go on from."""
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            position = TypeAdapter(Position).validate_json(file.metadata()["position"])
            if position.run != run:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        own, best = _under(tensors, "network"), _under(tensors, "best") or None
        _check_fits(network, own)
        _check_fits(network, best or own)
        _restore_optimizer(optimizer, _under(tensors, "optimizer"))
    except Exception as error:  # a damaged checkpoint costs time, not the job
        log.warning("%s cannot be read (%s); the training begins anew", path, cause_of(error))
        return None
    network.load_state_dict(own)
    return position, best


def remove_checkpoint(folder: Path) -> None:
    """Forget the run's position once its model is published."""
    (folder / CHECKPOINT_NAME).unlink(missing_ok=True)


def _check_fits(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Raise ValueError before anything of the network was changed."""
    if {name: value.shape for name, value in network.state_dict().items()} != {name: of.shape for name, of in tensors.items()}:
        raise ValueError("its weights are those of another network")


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, field_name = name.partition(".")
        state.setdefault(int(index), {})[field_name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
