"""A process limits its own memory, so that a damaged file costs that process and nobody else."""

from __future__ import annotations

import contextlib
import mmap
import resource
from pathlib import Path


def limit_memory(allowance: int) -> None:
    """Where the system knows how large this process is, that and the allowance (bytes) is all it may grow to."""
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * mmap.PAGESIZE + allowance
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
