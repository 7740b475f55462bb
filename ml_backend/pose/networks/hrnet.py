"""HRNet (Sun et al., CVPR 2019): branches of several resolutions side by side, fused again and again.

Parameter names are those of the published pose weights.  Places where nothing is done hold an Identity, which has
no parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ml_backend.pose.networks.network import PoseNetwork, PoseOutput, global_average
from ml_backend.pose.networks.pose_resnet import final_convolution
from ml_backend.pose.networks.resnet import BasicBlock, Bottleneck, conv3x3, residual_layer

#: Exchange modules in stages 2, 3 and 4, and residual blocks per branch of each module.
_MODULES = (1, 4, 3)
_BLOCKS_PER_BRANCH = 4


def _halving(in_channels: int, channels: int, relu: bool) -> nn.Sequential:
    layers: list[nn.Module] = [conv3x3(in_channels, channels, 2), nn.BatchNorm2d(channels)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class ExchangeModule(nn.Module):
    """Residual blocks on every branch, then every output branch is the sum of all branches brought to its resolution."""

    def __init__(self, channels: list[int], n_outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(residual_layer(BasicBlock, width, width, _BLOCKS_PER_BRANCH) for width in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_bring(channels, source, target) for source in range(len(channels))) for target in range(n_outputs)
        )
        self.relu = nn.ReLU()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One map per branch, finest first, in and out."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for row in self.fuse_layers:
            assert isinstance(row, nn.ModuleList)
            brought = [bring(x) for bring, x in zip(row, maps, strict=True)]
            fused.append(self.relu(torch.stack(brought).sum(dim=0)))
        return fused


def _bring(channels: list[int], source: int, target: int) -> nn.Module:
    """Map of branch ``source`` → resolution and channels of branch ``target``."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            nn.Conv2d(channels[source], channels[target], 1, bias=False),
            nn.BatchNorm2d(channels[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    steps = target - source
    last = _halving(channels[source], channels[target], relu=False)
    return nn.Sequential(*(_halving(channels[source], channels[source], relu=True) for _ in range(steps - 1)), last)


def _transition(before: list[int], after: list[int]) -> nn.ModuleList:
    """From the branches of one stage to those of the next, which has one more."""
    layers: list[nn.Module] = []
    for branch, width in enumerate(after):
        if branch >= len(before):
            layers.append(nn.Sequential(_halving(before[-1], width, relu=True)))
        elif before[branch] == width:
            layers.append(nn.Identity())
        else:
            layers.append(nn.Sequential(conv3x3(before[branch], width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)))
    return nn.ModuleList(layers)


class HRNet(PoseNetwork):
    """28.5 M parameters with width 32 and 17 keypoints, 63.6 M with width 48."""

    stride = 4
    multiple = 32

    def __init__(self, n_keypoints: int, width: int = 32) -> None:
        super().__init__()
        widths = [width * 2**branch for branch in range(4)]
        self.feature_dim = sum(widths[:3])
        self.conv1 = conv3x3(3, 64, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = conv3x3(64, 64, 2)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = residual_layer(Bottleneck, 64, 64, 4)
        self.transition1 = _transition([256], widths[:2])
        self.stage2 = self._stage(widths[:2], _MODULES[0])
        self.transition2 = _transition(widths[:2], widths[:3])
        self.stage3 = self._stage(widths[:3], _MODULES[1])
        self.transition3 = _transition(widths[:3], widths)
        self.stage4 = self._stage(widths, _MODULES[2], n_outputs=1)
        self.final_layer = final_convolution(width, n_keypoints)

    @staticmethod
    def _stage(channels: list[int], n_modules: int, n_outputs: int | None = None) -> nn.Sequential:
        outputs = [len(channels)] * (n_modules - 1) + [n_outputs or len(channels)]
        return nn.Sequential(*(ExchangeModule(channels, count) for count in outputs))

    def forward(self, crops: Tensor) -> PoseOutput:
        """(n, 3, h, w) → heatmaps (n, K, h/4, w/4) and features: the averaged branches of stage 3, (n, 7·width)."""
        x = self.relu(self.bn1(self.conv1(crops)))
        x = self.layer1(self.relu(self.bn2(self.conv2(x))))
        maps = self.stage2([layer(x) for layer in self.transition1])
        maps = self.stage3(_widen(self.transition2, maps))
        features = torch.cat([global_average(branch) for branch in maps], dim=1)
        finest = self.stage4(_widen(self.transition3, maps))[0]
        return PoseOutput(self.final_layer(finest), features, (finest,))


def _widen(transition: nn.ModuleList, maps: list[Tensor]) -> list[Tensor]:
    """The new branch starts from the coarsest one there is."""
    sources = [*maps, maps[-1]]
    return [layer(x) for layer, x in zip(transition, sources, strict=True)]


def w32(n_keypoints: int, **kwargs: Any) -> HRNet:
    """HRNet-W32."""
    return HRNet(n_keypoints, width=32, **kwargs)


def w48(n_keypoints: int, **kwargs: Any) -> HRNet:
    """HRNet-W48."""
    return HRNet(n_keypoints, width=48, **kwargs)
