"""Files that are either old or new, never half written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from label_config.values.private_files import make_folder


@contextmanager
def replacing(path: Path, *, durable: bool = True, before_rename: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends well, and is gone when it does not.

    durable        file and rename survive a power cut
    before_rename  called when the whole content is on the disk
    """
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=f".part{path.suffix}")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if durable:
            _flush(temporary)
        before_rename()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        _flush(path.parent)


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` so that a reader sees the old file or the new one."""
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
