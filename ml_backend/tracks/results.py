"""Files of one recording's tracks: each made whole or not at all, and never in place of another without being asked to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from label_config.values.atomic_files import write_atomically
from label_config.values.errors import BadInputError

#: Where results of frames and what was written are kept, within the folder of a recording.
KEPT = ".chunks"


class Results:
    """What was written into ``folder``, with the options of each: ``.chunks/written.json``."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._list = folder, folder / KEPT / "written.json"

    def due(self, wanted: Mapping[str, Mapping[str, Any]], *, force: bool) -> list[str]:
        """Names of those that are not there yet; all of them with ``force``.

        wanted  file or folder → options that it depends on
        Raises BadInputError for one that is there with other options, or that was not written by this.
        """
        before = self._written()
        due = []
        for name, options in wanted.items():
            exists = (self._folder / name).exists()
            if exists and not force and before.get(name) != dict(options):
                raise BadInputError(f"{self._folder / name}: exists already; choose another --out, or --force to replace it")
            if force or not exists:
                due.append(name)
        return due

    def write(self, name: str, options: Mapping[str, Any], make: Callable[[Path], list[str]]) -> list[str]:
        """``make`` fills a folder, whose content is then moved to its place; its notes."""
        part = self._folder / ".part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        notes = make(part)
        for item in sorted(part.iterdir()):
            target = self._folder / item.name
            if target.is_dir():
                shutil.rmtree(target)
            item.replace(target)
        part.rmdir()
        written = {**self._written(), name: dict(options)}
        write_atomically(self._list, json.dumps(written, indent=1, sort_keys=True).encode())
        return notes

    def _written(self) -> dict[str, Any]:
        try:
            found = json.loads(self._list.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}
