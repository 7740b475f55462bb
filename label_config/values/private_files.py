"""What Parallax keeps for itself, such as secrets, labels and logs, is for its own user: folders 0700, files 0600."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

#: The folder of that, beside parallax.yaml.
STATE = ".parallax"
_OTHERS, _GROUP = 0o007, 0o070


def make_folder(path: Path) -> None:
    """Make a folder and what lies above it; ``.parallax`` and everything in it is closed to others."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700 if STATE in folder.parts else 0o777, exist_ok=True)
    path.mkdir(exist_ok=True)  # the error that says what is there instead


def open_private(path: str, flags: int) -> int:
    """For ``open(…, opener=open_private)``: a new file is its owner's alone."""
    return os.open(path, flags, 0o600)


def close_files(files: Iterable[Path]) -> None:
    """Leave files that were just made to their owner alone."""
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            file.chmod(0o600)


def close_to_others(state: Path) -> list[Path]:
    """Take from others what they may do in ``.parallax`` and the files right in it; what is not ours to change is returned.

    The group stays where it is that of root, who may do everything anyway: containers share folders by it.
    """
    if not state.is_dir():
        return []
    left = []
    for path in (state, *state.iterdir()):
        found = path.lstat()
        wide = _OTHERS | (0 if found.st_gid == 0 else _GROUP)
        if stat.S_ISLNK(found.st_mode) or not found.st_mode & wide:
            continue
        try:
            path.chmod(stat.S_IMODE(found.st_mode) & ~wide)
        except OSError:
            left.append(path)
    return left
