"""Model files: written whole or not at all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from label_config.values import atomic_files
from ml_backend.store.fault_points import reach


def replacing(path: Path) -> AbstractContextManager[Path]:
    """A temporary path that takes the place of ``path``; tests may kill the process just before it does."""
    return atomic_files.replacing(path, before_rename=lambda: reach(f"write {path.name}"))
