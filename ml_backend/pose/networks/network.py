"""What every network of Parallax looks like from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor, nn

from label_config.values.errors import ModelError


class HeadKind(StrEnum):
    """What the numbers that leave a network mean."""

    HEATMAP = "heatmap"  #: (n, K, h, w), one map per keypoint
    SIMCC = "simcc"  #: (n, K, bins_x + bins_y) logits of the two marginals
    REGRESSION = "regression"  #: (n, K, 2) position as a fraction of the input's width and height


class PoseOutput(NamedTuple):
    """What leaves a network.

    prediction  see HeadKind
    features    (n, D) globally averaged embedding of the crop
    maps        feature maps (n, c, h, w) for auxiliary networks, finest first, each half the size of the one before; one is
                enough (the rest are its averages), without any the network cannot carry auxiliary ones
    earlier     predictions of earlier stages, trained as the last one is
    """

    prediction: Tensor
    features: Tensor
    maps: tuple[Tensor, ...] = ()
    earlier: tuple[Tensor, ...] = ()


class PoseNetwork(nn.Module, ABC):
    """A network that maps crops (n, 3, h, w), ImageNet-normalised, to a PoseOutput.

    stride       input pixels per heatmap pixel (1 for a head without maps); 3.5 is possible
    feature_dim  D of the embedding
    multiple     width and height of the input must be multiples of this many pixels
    kind         what ``prediction`` means

    Parameters whose name starts with ``final_layer`` are the last layer, those with ``deconv_layers`` the decoder,
    those with ``auxiliary`` belong to networks trained beside this one, all others are the backbone: recipes with several
    learning rates rely on it.
    """

    stride: float = 4
    feature_dim: int = 0
    multiple: int = 32
    kind: HeadKind = HeadKind.HEATMAP

    def __init__(self) -> None:
        super().__init__()
        #: Set by ``auxiliaries.attach``; reads the maps of a PoseOutput.
        self.auxiliary: nn.Module | None = None

    @abstractmethod
    def forward(self, crops: Tensor) -> PoseOutput:
        """What the network says about these crops."""


def map_shapes(network: PoseNetwork, input_px: tuple[int, int]) -> list[torch.Size]:
    """Shapes of the feature maps for one crop of (width, height), asked of the network itself with an empty one.

    Raises BadInputError when it returns none.
    """
    was_training = network.training
    with torch.inference_mode():
        maps = network.eval()(torch.zeros(1, 3, input_px[1], input_px[0])).maps
    network.train(was_training)
    if not maps:
        raise ModelError(
            f"network {type(network).__name__} returns no feature maps, which auxiliary and single-view networks read; "
            "give its PoseOutput ``maps``"
        )
    return [level.shape for level in maps]


class Part(StrEnum):
    """The parts of a network that recipes treat differently."""

    BACKBONE = "backbone"
    DECODER = "decoder"
    FINAL = "final"
    AUXILIARY = "auxiliary"


def part_of(parameter_name: str) -> Part:
    """The part of the network that a parameter belongs to, by its name."""
    if parameter_name.startswith("auxiliary"):
        return Part.AUXILIARY
    if parameter_name.startswith("final_layer"):
        return Part.FINAL
    return Part.DECODER if parameter_name.startswith("deconv_layers") else Part.BACKBONE


def global_average(features: Tensor) -> Tensor:
    """(n, D, h, w) → (n, D)."""
    return features.mean(dim=(2, 3))
