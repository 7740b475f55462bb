"""What a child that reads files of others may know of this process: tokens and passwords stand in the environment."""

from __future__ import annotations

import os

#: How programs and libraries are found, where there is room for files, and the language of messages.
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL", "LC_CTYPE")


def child_environment(**more: str) -> dict[str, str]:
    """The environment of a child, with one thread for numbers and ``more``."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **more}
