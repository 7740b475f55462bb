"""A small network that predicts a few numbers about a crop from the pose network's feature maps (docs/methods.md §6.1).

VL4Pose predicts the expected length of every link and its uncertainty with it; Learning Loss and the aleatoric head predict other
numbers.  The pose network is not trained through it: feature maps are detached.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from label_config.values.errors import ModelError

#: Maps are halved until the shorter side has at most this many pixels.
COARSEST = 4


class AuxiliaryNetwork(nn.Module):
    """Feature maps of halving size are folded into one another, then read by a small fully connected head.

    About 2.1 M parameters with five maps of 256 channels (64² … 4²) and two numbers for each of 15 links.
    """

    def __init__(self, channels: int, n_outputs: int, n_scales: int = 5, coarsest: tuple[int, int] = (4, 4)) -> None:
        """``n_scales`` maps of ``channels`` channels, the last of size ``coarsest`` (h, w)."""
        super().__init__()
        self.fold = nn.ModuleList(nn.Conv2d(channels, channels, 2, stride=2) for _ in range(n_scales - 1))
        self.squeeze = nn.Conv2d(channels, channels, coarsest)
        widths = (channels, 128, 64, 32, 16)
        layers: list[nn.Module] = []
        for into, out in pairwise(widths):
            layers += [nn.Linear(into, out), nn.ReLU(inplace=True)]
        self.read = nn.Sequential(*layers)
        self.last = nn.Linear(widths[-1], n_outputs)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (n, channels, h, w), finest first, each half the size of the one before → (n, n_outputs)."""
        if len(maps) != len(self.fold) + 1:
            raise ModelError(f"auxiliary network: expected {len(self.fold) + 1} feature maps, got {len(maps)}")
        x = maps[0].detach()
        for layer, coarser in zip(self.fold, maps[1:], strict=True):
            x = torch.relu(layer(x)) + coarser.detach()
        out: Tensor = self.last(self.read(torch.relu(self.squeeze(x)).flatten(1)))
        return out


def feature_pyramid(maps: Sequence[Tensor]) -> list[Tensor]:
    """Maps (n, c, h, w), finest first, continued by averages over 2×2 cells until the shorter side has COARSEST or fewer."""
    pyramid = [level.float() for level in maps]
    while min(pyramid[-1].shape[2:]) > COARSEST:
        pyramid.append(nn.functional.avg_pool2d(pyramid[-1], 2))
    return pyramid


def link_lengths(xy_hm: Tensor, links: Sequence[tuple[int, int]]) -> Tensor:
    """(n, K, 2) → (n, L) distances between parent and child, NaN where either has no coordinates."""
    parent, child = zip(*links, strict=True)
    lengths: Tensor = torch.linalg.vector_norm(xy_hm[:, list(child)] - xy_hm[:, list(parent)], dim=-1)
    return lengths


def gaussian_loss(mean: Tensor, log_variance: Tensor, truth: Tensor) -> Tensor:
    """Mean over known entries of ½(mean − truth)²e^{−s} + ½s: the Gaussian negative log-likelihood without its constant.

    All of one shape; NaN in ``truth`` = not known.  0 when nothing is known.
    """
    known = torch.isfinite(truth)
    residual = torch.where(known, mean - torch.nan_to_num(truth), torch.zeros_like(mean))
    each = 0.5 * residual.square() * torch.exp(-log_variance) + 0.5 * log_variance
    return (each * known).sum() / known.sum().clamp_min(1)


def ranking_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Which of two crops is harder, asked for all neighbours in the batch (LearningLoss++, Shukla & Ahmed 2021).

    Kullback–Leibler divergence of σ(l̂_i − l̂_j) from l_i / (l_i + l_j), mean over pairs; 0 without a pair.
    Both (n,), ``truth`` not negative, NaN = not known.
    """
    first, second = truth, truth.roll(1)
    share = first / (first + second)
    known = torch.isfinite(share) & (len(truth) > 1)
    share = torch.where(known, share, torch.full_like(share, 0.5))
    logit = predicted - predicted.roll(1)
    cross = nn.functional.binary_cross_entropy_with_logits(logit, share, reduction="none")
    entropy = nn.functional.binary_cross_entropy(share, share, reduction="none")
    return ((cross - entropy) * known).sum() / known.sum().clamp_min(1)
