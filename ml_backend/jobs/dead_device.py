"""After a CUDA error nothing on the device works in this process any more: it ends, and its supervisor starts another."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator

log = logging.getLogger("parallax.jobs")


def device_is_gone(error: BaseException) -> bool:
    """The error says that the device, or this process's access to it, is lost.  Memory that ran out is no such error."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return "AcceleratorError" in names or (isinstance(error, RuntimeError) and "CUDA error" in str(error))


def end_if_device_is_gone(error: BaseException) -> None:
    """Ask this process to end as SIGTERM would: the job at hand is over, the next one finds a process that works.

    There ``train.device: auto`` takes the CPU when the device does not come back; any other setting says that it is missing.
    """
    if device_is_gone(error):
        log.error("the device is gone (%s); this worker ends, so that another one can start afresh", str(error)[:200])
        os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def ending_without_device() -> Iterator[None]:
    """What happens inside may find out that the device is gone."""
    try:
        yield
    except Exception as error:
        end_if_device_is_gone(error)
        raise
