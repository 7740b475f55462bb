"""One network trained by several processes, one for each device of a host.

A script that calls ``train`` inside :func:`joined`, started by ``torchrun --standalone --nproc-per-node 4 script.py``, sees four
times ``config.batch`` crops in every step.  Gradients are averaged over the processes; the first one decides, reports and writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Group:
    """The processes that train together; alone, every method returns what it was given."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Self:
        """That of :func:`joined`, else this process alone."""
        together = dist.is_available() and dist.is_initialized()
        return cls(dist.get_rank(), dist.get_world_size()) if together else cls()

    @property
    def leads(self) -> bool:
        """This process decides and writes."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.size
        return values

    def agree(self, device: torch.device, *values: float) -> list[float]:
        """The values of the process that leads."""
        if self.size == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64, device=device)
        dist.broadcast(told, src=0)
        agreed: list[float] = told.tolist()
        return agreed

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()

    def average_gradients(self, network: nn.Module) -> None:
        """After ``backward``, in one exchange."""
        self._average([parameter.grad for parameter in network.parameters() if parameter.grad is not None])

    def average_buffers(self, network: nn.Module) -> None:
        """Running statistics are moving averages of what each process saw; their mean is that of what all saw."""
        self._average([buffer for buffer in network.buffers() if buffer.is_floating_point()])

    def _average(self, tensors: list[Tensor]) -> None:
        if self.size == 1 or not tensors:
            return
        flat = self.mean(torch.cat([tensor.reshape(-1) for tensor in tensors]))
        for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))


@contextmanager
def joined() -> Iterator[Group]:
    """Take part in the group that ``torchrun`` started; alone without it.  Each process gets a CUDA device of its own."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group()
        return
    on_cuda = torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_cuda else "gloo")
    try:
        yield Group.current()
    finally:
        dist.destroy_process_group()
