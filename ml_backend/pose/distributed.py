"""One network trained by several processes, one for each device of a host.

``train(…, processes=4)`` starts them with :func:`together`; a script of one's own that calls ``train`` inside
:func:`joined` is started by ``torchrun --standalone --nproc-per-node 4 script.py`` instead.  Every step sees four
times ``config.batch`` crops.  Gradients are averaged over the processes; the first one decides, reports and writes.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from label_config.values import ParallaxError
from label_config.values.errors import InterruptedWorkError

Result = TypeVar("Result")

#: How often the caller checks its processes, seconds.
CHECK_S = 0.2
#: How a process ends when memory runs out: killed by the system, or by its own library that missed that it got none.
OF_MEMORY = (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS)


class KilledError(InterruptedWorkError):
    """A process ended by a signal as it does when memory runs out."""


@dataclass(frozen=True)
class Group:
    """The processes that train together; alone, nothing is exchanged."""

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
        shared = torch.tensor(values, dtype=torch.float64, device=device)
        dist.broadcast(shared, src=0)
        agreed: list[float] = shared.tolist()
        return agreed

    def any(self, device: torch.device, flag: bool) -> bool:
        """Whether ``flag`` is True in at least one process."""
        if self.size == 1:
            return flag
        raised = torch.tensor(float(flag), device=device)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return bool(raised.item() > 0)

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()

    def pack_gradients(self, network: nn.Module) -> Tensor | None:
        """All gradients in one vector, after ``backward``; None alone.  Its memory is taken here, where it may run out."""
        return _packed(_gradients(network)) if self.size > 1 else None

    def average_gradients(self, network: nn.Module, packed: Tensor | None) -> None:
        """Replace all gradients by their means over the processes, in one exchange of what ``pack_gradients`` gave."""
        if packed is not None:
            self._average(_gradients(network), packed)

    def average_buffers(self, network: nn.Module) -> None:
        """Running statistics are moving averages of what each process saw; their mean is that of what all saw."""
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        if self.size > 1 and buffers:
            self._average(buffers, _packed(buffers))

    def _average(self, tensors: list[Tensor], packed: Tensor) -> None:
        dist.all_reduce(packed)
        packed /= self.size
        for tensor, part in zip(tensors, torch.split(packed, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))


def _gradients(network: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def _packed(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


@contextmanager
def joined(device: str = "auto") -> Iterator[Group]:
    """Take part in the group that ``torchrun`` started; alone without it.  Each process gets a CUDA device of its own."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group()
        return
    with _joined("env://", int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"]), size, device) as group:
        yield group


@contextmanager
def _joined(meeting: str, rank: int, local_rank: int, size: int, device: str) -> Iterator[Group]:
    on_cuda = device != "cpu" and torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if on_cuda else "gloo", init_method=meeting, rank=rank, world_size=size)
    try:
        yield Group.current()
    finally:
        dist.destroy_process_group()


def together(
    processes: int,
    device: str,
    task: Callable[[Callable[[Any], None], Callable[[], bool]], Result],
    progress: Callable[[Any], None] | None,
    should_stop: Callable[[], bool] | None,
) -> Result:
    """Do ``task(progress, should_stop)`` in new processes that form a group; what the one that leads returns.

    The task and all that it holds must be picklable; ``progress`` and ``should_stop`` are called here.  None of the processes
    outlives this call, however it ends.  Raises the ParallaxError of a process, or one that says how a process died: KilledError
    where it was by a signal of ``OF_MEMORY``.
    """
    context = multiprocessing.get_context("spawn")
    stop, said = context.Event(), context.SimpleQueue()
    result: list[Result] = []

    def listen() -> None:
        while not said.empty():
            kind, value = said.get()
            if kind == "error":
                raise ParallaxError(value)
            if kind == "result":
                result.append(value)
            elif progress is not None:
                progress(value)

    with tempfile.TemporaryDirectory(prefix="parallax-") as folder:
        arguments = (processes, f"file://{folder}/meeting", device, task, stop, said)
        started = start_processes(  # type: ignore[no-untyped-call]
            _member, arguments, nprocs=processes, join=False, daemon=True, start_method="spawn"
        )
        try:
            while not started.join(timeout=CHECK_S):
                listen()
                if should_stop is not None and should_stop():
                    stop.set()
            listen()
        except (ProcessRaisedException, ProcessExitedException) as error:
            listen()
            # Those that it left fail as well, and may be noticed first.
            ends = {process.exitcode for process in started.processes}
            killed = next((number.name for number in OF_MEMORY if -number in ends), None)
            if killed is not None:
                raise KilledError(
                    f"training by {processes} processes: one of them was ended by {killed}, most likely because memory ran out; "
                    "set a smaller train.batch, or give this machine more memory"
                ) from error
            last = str(error).strip().splitlines()[-1]
            raise ParallaxError(f"training by {processes} processes: one of them ended: {last}") from error
        finally:
            for process in started.processes:
                process.kill()
                process.join()
    if not result:
        raise ParallaxError(f"training by {processes} processes: they ended without a result; try again")
    return result[0]


def _member(rank: int, size: int, meeting: str, device: str, task: Callable[..., Any], stop: Any, said: Any) -> None:
    # PyTorch sends SIGINT when the caller is gone: time for a checkpoint, like Ctrl-C.
    interrupted = threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: interrupted.set())

    def tell(value: Any) -> None:
        said.put(("progress", value))

    with _joined(meeting, rank, rank, size, device) as group:
        try:
            result = task(tell, lambda: stop.is_set() or interrupted.is_set())
        except ParallaxError as error:
            said.put(("error", str(error)))
            raise
        if group.leads:
            said.put(("result", result))
