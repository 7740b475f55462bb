"""Residual trunks (He et al., CVPR 2016) under the parameter names that published checkpoints use."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from ml_backend.pose.networks.strided import StridedPointwise


def conv3x3(in_channels: int, channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3×3 convolution without bias (a batch norm follows)."""
    return nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a short cut."""

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) → (n, channels, h/stride, w/stride)."""
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(out + shortcut)
        return result


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions and a short cut; the stride sits on the 3×3 one."""

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) → (n, 4·channels, h/stride, w/stride)."""
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        result: Tensor = self.relu(self.bn3(self.conv3(out)) + shortcut)
        return result


Block = type[BasicBlock] | type[Bottleneck]


def residual_layer(block: Block, in_channels: int, channels: int, n_blocks: int, stride: int = 1) -> nn.Sequential:
    """``n_blocks`` residual blocks, the first with ``stride`` and, where shapes differ, a projected short cut."""
    out_channels = channels * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            StridedPointwise(in_channels, out_channels, stride),
            nn.BatchNorm2d(out_channels),
        )
    first = block(in_channels, channels, stride, downsample)
    rest = [block(out_channels, channels) for _ in range(n_blocks - 1)]
    return nn.Sequential(first, *rest)


def deconvolution(in_channels: int, channels: int) -> list[nn.Module]:
    """4×4 transposed convolution that doubles the size, batch norm, ReLU."""
    return [
        nn.ConvTranspose2d(in_channels, channels, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
