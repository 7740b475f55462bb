"""Learning-rate range test (Smith 2017): grow the rate at every step and watch where the loss falls fastest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from label_config.values import FloatArray, TrainingTarget
from label_config.values.skeleton import Skeleton
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.dataset import CropDataset, LoadImage
from ml_backend.pose.device import autocast, choose_device, threads, to_network
from ml_backend.pose.heads import make_head, pose_losses
from ml_backend.pose.networks import build_network
from ml_backend.pose.networks.strided import check_convolutions
from ml_backend.pose.optimizer import make_optimizer

#: Weight of the past in the smoothed loss, and the rise over its minimum at which the test ends.
_SMOOTHING = 0.9
_DIVERGED = 4.0


@dataclass(frozen=True)
class RangeTest:
    """lr (s,) and smoothed loss (s,) of every step made, and the suggested peak rate."""

    lr: FloatArray
    loss: FloatArray
    suggestion: float


def find_learning_rate(
    config: TrainConfig,
    targets: Sequence[TrainingTarget],
    skeleton: Skeleton,
    load_image: LoadImage,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
) -> RangeTest:
    """Run a range test on a fresh network; nothing is kept.  Raises BadInputError as ``train`` does."""
    device = choose_device(config.device)
    rates = np.geomspace(lowest, highest, steps, dtype=np.float64)
    losses: list[float] = []
    with threads(config.threads):
        torch.manual_seed(config.seed)
        network = build_network(config.network, len(skeleton), plugins=config.plugins, **config.network_args).to(device)
        check_convolutions(network, device)
        head = make_head(network, config)
        data = CropDataset(targets, skeleton, head, config, load_image)
        optimizer = make_optimizer(network, config)
        for step, rate in enumerate(rates):
            for group in optimizer.param_groups:
                group["lr"] = rate * group["factor"]
            batch = data.batch(step * config.batch, config.batch)
            with autocast(device, config.precision, training=True):
                output = network(to_network(batch.crops, device))
            target, weight = torch.from_numpy(batch.target).to(device), torch.from_numpy(batch.weight).to(device)
            loss = pose_losses(head, output, target, weight).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]) or losses[-1] > _DIVERGED * min(losses):
                break
    smooth = smoothed(np.array(losses))
    return RangeTest(rates[: len(smooth)], smooth, suggested_rate(rates[: len(smooth)], smooth))


def smoothed(losses: FloatArray) -> FloatArray:
    """Exponential mean (s,), corrected for its start from nothing; what is not finite repeats the last value."""
    out: list[float] = []
    mean = 0.0
    for i, loss in enumerate(losses):
        if not math.isfinite(loss):
            out.append(out[-1] if out else math.inf)
            continue
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        out.append(mean / (1 - _SMOOTHING ** (i + 1)))
    return np.array(out)


def suggested_rate(lr: FloatArray, loss: FloatArray) -> float:
    """The rate of the steepest fall of the loss over the logarithm of the rate, before its minimum."""
    end = int(np.argmin(loss)) + 1
    if end < 3:
        return float(lr[0])
    slope = np.gradient(loss[:end], np.log(lr[:end]))
    return float(lr[int(np.argmin(slope))])
