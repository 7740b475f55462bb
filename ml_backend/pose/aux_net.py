"""VL4Pose's auxiliary network: how long each limb should be in this picture, and how sure that is (§6.1).

For every link l (parent → child) it predicts the expected distance d̂ and s = log σ², both in heatmap pixels, from the
pose network's feature maps.  The pose network is not trained through it: features are detached.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from label_config.values import BadInputError


class AuxiliaryNetwork(nn.Module):
    """Feature maps of halving size are folded into one another, then read by a small fully connected head.

    About 2.1 M parameters with five maps of 256 channels (64² … 4²) and 15 links.
    """

    def __init__(self, channels: int, n_links: int, n_scales: int = 5, coarsest: int = 4) -> None:
        """``n_scales`` maps of ``channels`` channels, the last of size ``coarsest``²."""
        super().__init__()
        if n_links < 1:
            raise BadInputError("auxiliary network: the skeleton has no limbs; add limbs to use link scores")
        self.fold = nn.ModuleList(nn.Conv2d(channels, channels, 2, stride=2) for _ in range(n_scales - 1))
        self.squeeze = nn.Conv2d(channels, channels, coarsest)
        widths = (channels, 128, 64, 32, 16)
        layers: list[nn.Module] = []
        for into, out in pairwise(widths):
            layers += [nn.Linear(into, out), nn.ReLU(inplace=True)]
        self.read = nn.Sequential(*layers, nn.Linear(widths[-1], 2 * n_links))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps (n, channels, h, w), finest first, each half the size of the one before → d̂ (n, L) and log σ² (n, L)."""
        if len(maps) != len(self.fold) + 1:
            raise BadInputError(f"auxiliary network: expected {len(self.fold) + 1} feature maps, got {len(maps)}")
        x = maps[0].detach()
        for layer, coarser in zip(self.fold, maps[1:], strict=True):
            x = torch.relu(layer(x)) + coarser.detach()
        x = torch.relu(self.squeeze(x)).flatten(1)
        distance, log_variance = self.read(x).chunk(2, dim=1)
        return distance, log_variance


def feature_pyramid(maps: Tensor, n_scales: int = 5) -> list[Tensor]:
    """(n, c, h, w) and its averages over 2×2, 4×4, … cells: feature maps for backbones that offer only one."""
    pyramid = [maps]
    for _ in range(n_scales - 1):
        pyramid.append(nn.functional.avg_pool2d(pyramid[-1], 2))
    return pyramid


def link_lengths(xy_hm: Tensor, links: Sequence[tuple[int, int]]) -> Tensor:
    """(n, K, 2) → (n, L) distances between parent and child, NaN where either has no coordinates."""
    parent, child = zip(*links, strict=True)
    lengths: Tensor = torch.linalg.vector_norm(xy_hm[:, list(child)] - xy_hm[:, list(parent)], dim=-1)
    return lengths


def link_loss(distance: Tensor, log_variance: Tensor, truth: Tensor) -> Tensor:
    """Mean over present links of ½(d̂ − d)²e^{−s} + ½s: the Gaussian negative log-likelihood without its constant.

    All (n, L); NaN in ``truth`` = link absent.  0 when no link is present.
    """
    present = torch.isfinite(truth)
    residual = torch.where(present, distance - torch.nan_to_num(truth), torch.zeros_like(distance))
    per_link = 0.5 * residual.square() * torch.exp(-log_variance) + 0.5 * log_variance
    return (per_link * present).sum() / present.sum().clamp_min(1)
