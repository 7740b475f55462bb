"""Results of a run of frames, kept file by file, so that a killed prediction goes on and ends with the same bytes."""

from __future__ import annotations

import fcntl
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values.errors import BadInputError
from label_config.values.refusing import refusing
from ml_backend.pose.model_files import replacing

#: Frames in one file.  Batches never cross it, so where a run was interrupted changes nothing.
FRAMES = 128
_ABOUT = "about.json"

Arrays = Mapping[str, npt.NDArray[Any]]


class ChunkFiles:
    """A folder of ``<number>.npz``; ``about.json`` says of which model, sources and settings they are."""

    def __init__(self, folder: Path, about: Mapping[str, Any], n_frames: int) -> None:
        self.folder, self.n_frames = folder, n_frames
        self._about = json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False)

    @contextmanager
    def opened(self, *, force: bool) -> Iterator[None]:
        """Make the folder, and keep others from writing there inside.

        Raises BadInputError when another process writes there, and when it holds results of something else, which ``force``
        removes.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BadInputError(f"{self.folder.parent}: another `parallax predict` is writing there") from error
            self._begin(force)
            yield

    def _begin(self, force: bool) -> None:
        for left in self.folder.glob(".*.part*"):
            left.unlink()
        path = self.folder / _ABOUT
        if path.exists():
            before = path.read_text(encoding="utf-8", errors="replace")
            if before == self._about and not force:
                return
            if not force:
                raise BadInputError(
                    f"{self.folder.parent}: holds tracks {_difference(before, self._about)}; give another --out, or --force to "
                    "replace them"
                )
            for old in (*self.folder.glob("*.npz"), *self.folder.glob("*.json")):
                old.unlink()
        with replacing(path) as temporary:
            temporary.write_text(self._about, encoding="utf-8")

    def path(self, number: int) -> Path:
        """The file of the frames from ``number · FRAMES`` on."""
        return self.folder / f"{number:06d}.npz"

    @property
    def count(self) -> int:
        """Files when all is done."""
        return -(-self.n_frames // FRAMES)

    @property
    def done(self) -> int:
        """How many are there, without a hole, from the first on."""
        return next((number for number in range(self.count) if not self.path(number).exists()), self.count)

    def save(self, number: int, arrays: Arrays) -> None:
        """Whole or not at all; the same arrays give the same bytes."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **dict(arrays))
        with replacing(self.path(number)) as path:
            path.write_bytes(buffer.getvalue())

    def load(self) -> dict[str, npt.NDArray[Any]]:
        """All frames, one after the other.  Raises BadInputError naming a file that is missing or damaged."""
        parts: list[dict[str, npt.NDArray[Any]]] = []
        for number in range(self.count):
            path = self.path(number)
            with (
                refusing(BadInputError, f"{path}: cannot be read; remove it and predict again"),
                np.load(path, allow_pickle=False) as file,
            ):
                parts.append({name: file[name] for name in file.files})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _difference(before: str, now: str) -> str:
    try:
        old, new = json.loads(before), json.loads(now)
        names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    except Exception:
        return "that cannot be read"
    return f"with another {' and another '.join(names)}" if names else "already"
