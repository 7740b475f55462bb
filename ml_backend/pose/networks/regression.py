"""Heads without heatmaps on the small encoder: coordinates at once, or two classifications (SimCC)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from label_config.values.errors import ModelError
from ml_backend.pose.networks.network import HeadKind, PoseNetwork, PoseOutput, global_average
from ml_backend.pose.networks.unet_small import UNetSmall


class RegressionNetwork(PoseNetwork):
    """The narrow encoder, its deepest map flattened coarsely, one hidden layer, two numbers per keypoint.

    The map is pooled to a few cells before it is flattened: a global average would throw position away.
    """

    stride = 1
    multiple = 16
    kind = HeadKind.REGRESSION

    def __init__(self, n_keypoints: int, width: int = 16, hidden: int = 256, cells: int = 4) -> None:
        super().__init__()
        self.feature_dim = 4 * width
        self.encoder = UNetSmall(n_keypoints, width=width).encoder()
        self.pool = nn.AdaptiveAvgPool2d(cells)
        self.deconv_layers = nn.Sequential(nn.Linear(self.feature_dim * cells**2, hidden), nn.ReLU(inplace=True))
        self.final_layer = nn.Linear(hidden, 2 * n_keypoints)
        nn.init.normal_(self.final_layer.weight, std=0.001)
        nn.init.constant_(self.final_layer.bias, 0.5)

    def forward(self, crops: Tensor) -> PoseOutput:
        """(n, 3, h, w) → (n, K, 2) fractions of the input's sides and features (n, 4·width)."""
        deepest = self.encoder(crops)
        hidden = self.deconv_layers(self.pool(deepest).flatten(1))
        return PoseOutput(self.final_layer(hidden).unflatten(1, (-1, 2)), global_average(deepest), (deepest,))


class SimCCNetwork(PoseNetwork):
    """The small U-Net whose maps are flattened and mapped to one vector of bins for x and one for y."""

    stride = 1
    multiple = 16
    kind = HeadKind.SIMCC

    def __init__(
        self, n_keypoints: int, input_px: Sequence[int] = (128, 128), ratio: float = 2.0, width: int = 16, decoder: int = 48
    ) -> None:
        """``input_px`` (width, height) and ``ratio`` must be those of the training configuration: they size the last layer."""
        super().__init__()
        self.feature_dim = 4 * width
        self.encoder = UNetSmall(n_keypoints, width=width, decoder=decoder)
        cells = (input_px[0] // 4) * (input_px[1] // 4)
        self.final_layer = nn.Linear(cells, sum(round(side * ratio) for side in input_px))

    def forward(self, crops: Tensor) -> PoseOutput:
        """(n, 3, h, w) → logits (n, K, bins_x + bins_y) and features."""
        maps, features, decoded, _ = self.encoder(crops)
        if maps.shape[2] * maps.shape[3] != self.final_layer.in_features:
            raise ModelError(
                f"network simcc: built for another input size than {crops.shape[3]}×{crops.shape[2]}; "
                "give network_args.input_px the value of train.input_px"
            )
        return PoseOutput(self.final_layer(maps.flatten(2)), features, decoded)
