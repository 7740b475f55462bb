"""1×1 convolutions with a stride, without the kernel of oneDNN that writes beyond its memory.

Training one on a CPU with few input channels and channels-last memory corrupts the heap: PyTorch 2.13.0 with oneDNN 3.12.0
crashed for 1 to 7 input channels with AVX2 and for 1 to 8 with AVX-512, strides 2 and 3; 9 and more, contiguous memory,
predictions, and larger kernels passed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from label_config.values.errors import ModelError

#: Twice the largest number of input channels that was seen to crash: one full vector of the widest processors.
_SAFE_CHANNELS = 16


class StridedPointwise(nn.Conv2d):
    """A 1×1 convolution that takes every ``stride``-th pixel first: the same values and parameter names, a safe kernel."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) → (n, channels, ⌈h/stride⌉, ⌈w/stride⌉)."""
        down, right = self.stride
        return functional.conv2d(x[:, :, ::down, ::right], self.weight)


def check_convolutions(network: nn.Module, device: torch.device) -> None:
    """Refuse a network whose training on a CPU may corrupt memory.

    Raises BadInputError with the layer and what to write instead.
    """
    if device.type != "cpu":
        return
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d) or isinstance(layer, StridedPointwise):
            continue
        channels = layer.in_channels // layer.groups
        if layer.kernel_size == (1, 1) and max(layer.stride) > 1 and channels < _SAFE_CHANNELS:
            raise ModelError(
                f"network layer {name!r}: a 1×1 convolution with stride {max(layer.stride)} and {channels} input channels "
                f"corrupts memory when PyTorch trains it on a CPU; expected at least {_SAFE_CHANNELS} channels, or "
                "ml_backend.pose.networks.strided.StridedPointwise, which computes the same, or training on CUDA"
            )
