"""Networks alone, their pictures ready on the device: bfloat16, channels last and compiled, against eager float32.

Needs nothing but PyTorch: neither OpenCV nor a settings file is read.  Figures are pictures per second on the wall.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ml_backend.pose.networks import PoseOutput, build_network

KEYPOINTS, PARTS = 17, 5
Network = Callable[[Tensor], PoseOutput]


def rate(call: Callable[[], object], pictures: int, steps: int, device: str) -> float:
    """Median over PARTS runs of ``steps`` calls, after one that holds compilation and warm-up."""
    rates = []
    for _ in range(PARTS + 1):
        start = time.perf_counter()
        for _ in range(steps):
            call()
        if device == "cuda":
            torch.cuda.synchronize()
        rates.append(steps * pictures / (time.perf_counter() - start))
    return sorted(rates[1:])[PARTS // 2]


def training_step(network: Network, parameters: list[nn.Parameter], crops: Tensor, fast: bool) -> Callable[[], object]:
    """Forward, mean squared error of the maps, backward, AdamW."""
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    with torch.no_grad():
        target = torch.rand_like(network(crops).prediction.float())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(crops.device.type, dtype=torch.bfloat16, enabled=fast):
            maps = network(crops).prediction
        functional.mse_loss(maps.float(), target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def forward_pass(network: Network, parameters: list[nn.Parameter], crops: Tensor, fast: bool) -> Callable[[], object]:
    """The maps, without gradients."""

    def step() -> None:
        with torch.inference_mode(), torch.autocast(crops.device.type, dtype=torch.bfloat16, enabled=fast):
            network(crops)

    return step


def compare(name: str, device: str, *, batch: int, side: int, steps: int, compiled: bool, **arguments: Any) -> dict[str, float]:
    """Print pictures per second of training and inference; factors against eager float32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    plain_crops = torch.rand(batch, 3, side, side, device=device)
    factors = {}
    for work, make in (("training", training_step), ("inference", forward_pass)):
        reference = 0.0
        for kind in ("eager float32", "bfloat16, channels last", *(["bfloat16, channels last, compiled"] if compiled else [])):
            fast = kind != "eager float32"
            memory = torch.channels_last if fast else torch.contiguous_format
            crops = plain_crops.contiguous(memory_format=memory)
            network = build_network(name, KEYPOINTS, **arguments).to(device).train(work == "training")
            network.to(memory_format=memory)  # type: ignore[call-overload]  # left out of its stubs
            called: Network = torch.compile(network) if kind.endswith("compiled") else network
            step = make(called, list(network.parameters()), crops, fast)
            found = rate(step, batch, steps, device)
            reference = reference or found
            print(f"  {name:<16} {work:<10} {kind:<36} {found:10.1f} pictures/s {found / reference:6.2f} x", flush=True)
            factors[f"{name}, {work}, {kind}"] = found / reference
    return factors
