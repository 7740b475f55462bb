"""The default on a CPU: a narrow residual encoder with a U-Net-style decoder, about 0.27 M parameters."""

from __future__ import annotations

from torch import Tensor, nn

from ml_backend.pose.networks.network import PoseNetwork, PoseOutput, global_average
from ml_backend.pose.networks.resnet import BasicBlock, deconvolution, residual_layer


class UNetSmall(PoseNetwork):
    """The first three stages of ResNet-18 at a quarter of its width, two deconvolutions and lateral skips.

    The skips matter: without them small networks localise far worse (they must carry position through the
    narrow bottom).  Heatmaps come at a quarter of the input size.
    """

    stride = 4
    multiple = 16

    def __init__(self, n_keypoints: int, width: int = 16, decoder: int = 48) -> None:
        super().__init__()
        self.feature_dim = 4 * width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = residual_layer(BasicBlock, width, width, 2)
        self.layer2 = residual_layer(BasicBlock, width, 2 * width, 2, stride=2)
        self.layer3 = residual_layer(BasicBlock, 2 * width, 4 * width, 2, stride=2)
        self.deconv_layers = nn.ModuleDict(
            {
                "up8": nn.Sequential(*deconvolution(4 * width, decoder)),
                "skip8": nn.Conv2d(2 * width, decoder, 1),
                "up4": nn.Sequential(*deconvolution(decoder, decoder)),
                "skip4": nn.Conv2d(width, decoder, 1),
            }
        )
        self.final_layer = nn.Conv2d(decoder, n_keypoints, 1)
        nn.init.normal_(self.final_layer.weight, std=0.001)
        nn.init.zeros_(self.final_layer.bias)  # type: ignore[arg-type]

    def forward(self, crops: Tensor) -> PoseOutput:
        """(n, 3, h, w) → heatmaps (n, K, h/4, w/4) and features (n, 4·width)."""
        at4 = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(crops)))))
        at8 = self.layer2(at4)
        at16 = self.layer3(at8)
        decoder = self.deconv_layers
        up8 = decoder["up8"](at16) + decoder["skip8"](at8)
        up4 = decoder["up4"](up8) + decoder["skip4"](at4)
        return PoseOutput(self.final_layer(up4), global_average(at16), (up4,))

    def encoder(self) -> nn.Sequential:
        """The part up to a sixteenth of the input size, for networks with another head."""
        return nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool, self.layer1, self.layer2, self.layer3)
