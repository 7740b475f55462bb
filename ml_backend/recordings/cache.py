"""Pictures fetched from elsewhere, kept on disk: keyed by sha256 of the address, verified on every read, limited in size.

Each file is the sha256 of its content followed by the content, written under another name and then renamed: a reader sees
a whole file or none, and a file that was cut or exchanged is noticed and dropped.  Any number of processes may share a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from label_config.values.atomic_files import write_atomically

_DIGEST_BYTES = 32
#: After going over the limit, the oldest files are dropped until this share of it is left.
_KEEP = 0.9
#: Other processes write too: after so many writes of its own, a process measures the folder again.
_RECOUNT_EVERY = 200


class PictureCache:
    """A folder of fetched pictures, least recently used dropped first."""

    def __init__(self, folder: str | Path, max_bytes: int) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.max_bytes = max_bytes
        self._writes = 0
        self._bytes = 0

    def get(self, url: str) -> bytes | None:
        """The bytes kept for an address; None when there are none or they are damaged."""
        path = self._path(url)
        try:
            if path.is_symlink():
                raise ValueError("a link")
            stored = path.read_bytes()
            digest, data = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
            if hashlib.sha256(data).digest() != digest:
                raise ValueError("damaged")
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            self.remove(url)
            return None
        return data

    def put(self, url: str, data: bytes) -> None:
        """Keep bytes for an address.  A full disk only means that nothing is kept."""
        path = self._path(url)
        try:
            write_atomically(path, hashlib.sha256(data).digest() + data, durable=False)
        except OSError:
            return
        if self._writes % _RECOUNT_EVERY == 0:
            self._bytes = sum(size for _, size, _ in self._files())
        else:
            self._bytes += _DIGEST_BYTES + len(data)
        self._writes += 1
        if self._bytes > self.max_bytes:
            self._shrink()

    def remove(self, url: str) -> None:
        """Drop what is kept for an address."""
        with contextlib.suppress(OSError):
            self._path(url).unlink(missing_ok=True)

    def _path(self, url: str) -> Path:
        key = hashlib.sha256(url.encode()).hexdigest()
        return self.folder / key[:2] / key

    def _files(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path) of everything kept, oldest first."""
        found = []
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def _shrink(self) -> None:
        files = self._files()
        self._bytes = sum(size for _, size, _ in files)
        if self._bytes <= self.max_bytes:
            return
        for _, size, path in files:
            if self._bytes <= _KEEP * self.max_bytes:
                break
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            self._bytes -= size
