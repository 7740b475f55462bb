"""PoseResNet, the simple baseline (Xiao, Wu & Wei, ECCV 2018): a residual trunk, three deconvolutions, one 1×1 convolution."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ml_backend.pose.networks.network import PoseNetwork, PoseOutput, global_average
from ml_backend.pose.networks.resnet import BasicBlock, Block, Bottleneck, deconvolution, residual_layer

_BLOCKS: dict[int, tuple[Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class PoseResNet(PoseNetwork):
    """34.0 M parameters with 50 layers and 17 keypoints.  Parameter names are those of the published weights."""

    stride = 4
    multiple = 32

    def __init__(self, n_keypoints: int, depth: int = 50, decoder: int = 256) -> None:
        super().__init__()
        block, counts = _BLOCKS[depth]
        self.feature_dim = 512 * block.expansion
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = residual_layer(block, 64, 64, counts[0])
        self.layer2 = residual_layer(block, 64 * block.expansion, 128, counts[1], stride=2)
        self.layer3 = residual_layer(block, 128 * block.expansion, 256, counts[2], stride=2)
        self.layer4 = residual_layer(block, 256 * block.expansion, 512, counts[3], stride=2)
        self.deconv_layers = simple_decoder(self.feature_dim, decoder, 3)
        self.final_layer = final_convolution(decoder, n_keypoints)

    def forward(self, crops: Tensor) -> PoseOutput:
        """(n, 3, h, w) → heatmaps (n, K, h/4, w/4) and features (n, 512 or 2048)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(crops))))
        deepest = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        decoded = self.deconv_layers(deepest)
        return PoseOutput(self.final_layer(decoded), global_average(deepest), (decoded,))


def simple_decoder(in_channels: int, channels: int, count: int) -> nn.Sequential:
    """``count`` deconvolutions with the baseline's initialisation N(0, 0.001)."""
    layers: list[nn.Module] = []
    for position in range(count):
        layers += deconvolution(in_channels if position == 0 else channels, channels)
    for layer in layers:
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.001)
    return nn.Sequential(*layers)


def final_convolution(in_channels: int, n_keypoints: int) -> nn.Conv2d:
    """The 1×1 convolution to one map per keypoint, N(0, 0.001)."""
    layer = nn.Conv2d(in_channels, n_keypoints, 1)
    nn.init.normal_(layer.weight, std=0.001)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def resnet18(n_keypoints: int, **kwargs: Any) -> PoseResNet:
    """PoseResNet-18."""
    return PoseResNet(n_keypoints, depth=18, **kwargs)


def resnet50(n_keypoints: int, **kwargs: Any) -> PoseResNet:
    """PoseResNet-50."""
    return PoseResNet(n_keypoints, depth=50, **kwargs)


def resnet101(n_keypoints: int, **kwargs: Any) -> PoseResNet:
    """PoseResNet-101."""
    return PoseResNet(n_keypoints, depth=101, **kwargs)
