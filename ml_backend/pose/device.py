"""Where and how the arithmetic is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from label_config.values import ByteArray
from label_config.values.errors import ModelError
from ml_backend.pose.config import Precision

#: Mean and standard deviation of ImageNet, which published backbones expect.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def choose_device(name: str) -> torch.device:
    """ "auto" takes CUDA where there is one.  Raises BadInputError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"train.device: expected 'auto', 'cpu' or 'cuda', got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"train.device: {name!r} asked for, but PyTorch sees no CUDA device here; use 'auto' or 'cpu'")
    return device


def autocast(device: torch.device, precision: Precision, *, training: bool = False) -> AbstractContextManager[object]:
    """bfloat16 arithmetic wherever asked for; "auto": on CUDA, and in training also on a processor that multiplies it natively.

    Training is about twice as fast there; predictions keep their full precision.
    """
    fast = device.type == "cuda" or (training and device.type == "cpu" and multiplies_bfloat16())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16" or (precision == "auto" and fast))


def multiplies_bfloat16() -> bool:
    """This processor has instructions for bfloat16 products."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def count_processes(devices: int | Literal["all"], device: str) -> int:
    """How many processes train together: as many as asked for, one for every CUDA device for "all" (one where there is none).

    Raises BadInputError when CUDA has fewer devices, or when ``device`` names a single one.
    """
    here = torch.cuda.device_count() if choose_device(device).type == "cuda" else 0
    wanted = max(here, 1) if devices == "all" else devices
    if wanted > 1 and ":" in device:
        raise ModelError(f"train.devices: {wanted} processes cannot share train.device {device!r}; set it to 'auto' or 'cuda'")
    if here and wanted > here:
        raise ModelError(f"train.devices: expected at most the {here} CUDA devices of this machine, got {wanted}")
    return wanted


def usable_threads() -> int:
    """As many as PyTorch would take by itself: the processor's, or OMP_NUM_THREADS."""
    return torch.get_num_threads()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use ``count`` threads inside, as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(count, 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def to_network(crops: ByteArray, device: torch.device) -> Tensor:
    """uint8 (n, h, w, 3) RGB → normalised float32 (n, 3, h, w) on the device, channels last in memory."""
    pixels = torch.from_numpy(np.ascontiguousarray(crops)).to(device, non_blocking=True).permute(0, 3, 1, 2)
    mean = torch.tensor(_MEAN, device=device).view(1, 3, 1, 1)
    std = torch.tensor(_STD, device=device).view(1, 3, 1, 1)
    return ((pixels.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on either kind of device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The second is oneDNN's, whose own allocation failed.
    return isinstance(error, RuntimeError) and any(
        text in str(error) for text in ("can't allocate memory", "could not create a primitive")
    )


def free_memory(device: torch.device) -> None:
    """Give cached blocks back."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
