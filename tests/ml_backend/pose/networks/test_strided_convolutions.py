"""No network of ours trains the layer whose kernel in oneDNN writes beyond its memory, and a user's with one is refused."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from label_config.values import BadInputError
from ml_backend.pose.networks.strided import StridedPointwise, check_convolutions

#: Forward and backward passes at several sizes, enough for the faulty kernel to crash within seconds; the names are checked too.
TRAIN = """
import torch
from ml_backend.pose.networks import build_network
torch.set_num_threads(1)
for width in (1, 3, 4, 6, 8):
    network = build_network("unet_small", 3, width=width, decoder=8).to(memory_format=torch.channels_last)
    for _ in range(5):
        for side in (32, 64, 48):
            crops = torch.randn(4, 3, side, side).to(memory_format=torch.channels_last)
            network(crops).maps[0].square().mean().backward()
"""


@pytest.mark.parametrize("instructions", ["AVX2", "DEFAULT"])
def test_narrow_networks_train_without_corrupting_memory(instructions: str) -> None:
    """In a process of its own, with the kernels of a processor without AVX-512, and with those of this one."""
    settings = {**os.environ, "DNNL_MAX_CPU_ISA": instructions, "MALLOC_CHECK_": "3"}
    done = subprocess.run([sys.executable, "-c", TRAIN], env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("side", [8, 9, 15])
def test_it_computes_what_the_strided_convolution_does(side: int) -> None:
    torch.manual_seed(0)
    ours, theirs = StridedPointwise(3, 5, 2), nn.Conv2d(3, 5, 1, 2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, side, side)  # contiguous memory: the kernel that works
    torch.testing.assert_close(ours(x), theirs(x))
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 8, 1, 2), nn.Conv2d(8, 8, 1, (1, 3)), nn.Conv2d(32, 32, 1, 2, groups=32)])
def test_a_layer_that_may_corrupt_memory_is_named(layer: nn.Conv2d) -> None:
    with pytest.raises(BadInputError, match=r"'0.1'.*StridedPointwise"):
        check_convolutions(nn.Sequential(nn.Sequential(nn.ReLU(), layer)), torch.device("cpu"))


@pytest.mark.parametrize("layer", [nn.Conv2d(16, 8, 1, 2), nn.Conv2d(4, 8, 1), nn.Conv2d(3, 8, 3, 2), StridedPointwise(3, 8, 2)])
def test_other_layers_pass(layer: nn.Conv2d) -> None:
    check_convolutions(layer, torch.device("cpu"))


def test_the_same_layer_passes_on_cuda() -> None:
    check_convolutions(nn.Conv2d(4, 8, 1, 2), torch.device("cuda"))
