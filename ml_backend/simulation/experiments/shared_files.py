"""Files that several processes share: locks and settings."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from label_config.values import BadInputError


def claim(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of what a folder holds down, or check that they are those of ``path``.  Raises BadInputError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(settings, indent=1)
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    elif json.loads(path.read_text(encoding="utf-8")) != json.loads(text):
        raise BadInputError(
            f"{path}: it holds another experiment, with other settings; give another folder with --out or the same options"
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold ``path`` + ".lock" alone; another process waits.  A killed holder lets go by itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{path}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
