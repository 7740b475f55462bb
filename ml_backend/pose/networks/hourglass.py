"""Stacked hourglass (Newell, Yang & Deng, ECCV 2016): down to a few pixels and up again, several times over.

Pre-activation bottlenecks, one per place, 256 channels: 6.73 M parameters with two stacks and 16 keypoints, 25.6 M with eight.
An auxiliary network beside it makes 8.9 M.
Every stack predicts, and every prediction is trained.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ml_backend.pose.networks.network import PoseNetwork, PoseOutput, global_average
from ml_backend.pose.networks.pose_resnet import final_convolution

#: Halvings inside one hourglass: from a quarter of the input to a 64th.
DEPTH = 4


class PreActivation(nn.Module):
    """1×1, 3×3, 1×1 convolutions, each after batch norm and ReLU, and a short cut; the middle has half of the channels."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.bn1, self.conv1 = nn.BatchNorm2d(in_channels), nn.Conv2d(in_channels, half, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), nn.Conv2d(half, half, 3, padding=1)
        self.bn3, self.conv3 = nn.BatchNorm2d(half), nn.Conv2d(half, channels, 1)
        self.shortcut = nn.Identity() if in_channels == channels else nn.Conv2d(in_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) → (n, channels, h, w)."""
        out = self.conv1(functional.relu(self.bn1(x)))
        out = self.conv2(functional.relu(self.bn2(out)))
        result: Tensor = self.conv3(functional.relu(self.bn3(out))) + self.shortcut(x)
        return result


class Hourglass(nn.Module):
    """Halve and process DEPTH times, then double and add what was there before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.skip = nn.ModuleList(PreActivation(channels, channels) for _ in range(DEPTH))
        self.down = nn.ModuleList(PreActivation(channels, channels) for _ in range(DEPTH))
        self.bottom = PreActivation(channels, channels)
        self.up = nn.ModuleList(PreActivation(channels, channels) for _ in range(DEPTH))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(n, c, h, w) → the maps on the way up, finest first: h, h/2, … h/2^DEPTH."""
        skipped = []
        for skip, down in zip(self.skip, self.down, strict=True):
            skipped.append(skip(x))
            x = down(functional.max_pool2d(x, 2))
        maps = [self.bottom(x)]
        for up, beside in zip(self.up, reversed(skipped), strict=True):
            maps.insert(0, beside + functional.interpolate(up(maps[0]), scale_factor=2.0, mode="nearest"))
        return maps


class Stem(nn.Module):
    """Picture → a quarter of its size, ``channels`` channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = channels // 4
        self.conv1 = nn.Conv2d(3, quarter, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(quarter)
        self.blocks = nn.ModuleList(
            [PreActivation(quarter, 2 * quarter), PreActivation(2 * quarter, channels), PreActivation(channels, channels)]
        )

    def forward(self, crops: Tensor) -> Tensor:
        """(n, 3, h, w) → (n, channels, h/4, w/4)."""
        x = self.blocks[0](functional.relu(self.bn1(self.conv1(crops))))
        result: Tensor = self.blocks[2](self.blocks[1](functional.max_pool2d(x, 2)))
        return result


class Stage(nn.Module):
    """One hourglass and the features that its prediction is read from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hourglass = Hourglass(channels)
        self.residual = PreActivation(channels, channels)
        self.lin = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(n, c, h, w) → features of the same shape and the hourglass's maps, finest first."""
        maps = self.hourglass(x)
        return self.lin(self.residual(maps[0])), maps


class StackedHourglass(PoseNetwork):
    """``stacks`` hourglasses, each fed with the features and the prediction of the one before."""

    stride = 4
    multiple = 4 * 2**DEPTH

    def __init__(self, n_keypoints: int, stacks: int = 2, channels: int = 256) -> None:
        super().__init__()
        self.feature_dim = channels
        self.stem = Stem(channels)
        self.stages = nn.ModuleList(Stage(channels) for _ in range(stacks))
        self.predict = nn.ModuleList(final_convolution(channels, n_keypoints) for _ in range(stacks - 1))
        self.remix = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1))
        self.feed_back = nn.ModuleList(nn.Conv2d(n_keypoints, channels, 1) for _ in range(stacks - 1))
        self.final_layer = final_convolution(channels, n_keypoints)

    def forward(self, crops: Tensor) -> PoseOutput:
        """(n, 3, h, w) → heatmaps (n, K, h/4, w/4); features: the average of the last hourglass's narrowest maps."""
        x = self.stem(crops)
        earlier = []
        for stage, predict, remix, feed_back in zip(self.stages, self.predict, self.remix, self.feed_back, strict=False):
            features, _ = stage(x)
            earlier.append(predict(features))
            x = x + remix(features) + feed_back(earlier[-1])
        features, maps = self.stages[-1](x)
        return PoseOutput(self.final_layer(features), global_average(maps[-1]), tuple(maps), tuple(earlier))
