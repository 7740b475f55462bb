"""Arrays beside the database: immutable ``.npz`` files, written whole or not at all, named by what they hold."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import BadInputError
from label_config.values.atomic_files import replacing
from label_config.values.private_files import make_folder
from label_config.values.refusing import refusing
from ml_backend.store.fault_points import reach


class ArrayStore:
    """A folder of array files; names are relative to it and never leave it."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        make_folder(self.folder)

    def save(self, group: str, arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[str, str]:
        """Write the arrays; returns (name, sha256).  The same content gives the same name."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **dict(arrays))
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        name = f"{group}/{digest[:32]}.npz"
        path = self._path(name)
        with replacing(path, before_rename=lambda: reach(f"write {path.parent.name}")) as temporary:
            temporary.write_bytes(data)
        return name, digest

    def load(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Read the arrays.  Raises BadInputError when the file is missing or damaged."""
        path = self._path(name)
        with (
            refusing(BadInputError, f"array file {name}: cannot be read; it is rebuilt by `parallax rescore`"),
            np.load(path, allow_pickle=False) as file,
        ):
            return {key: file[key] for key in file.files}

    def load_only(self, name: str, keys: Collection[str]) -> dict[str, npt.NDArray[Any]]:
        """Those of the arrays that are there.  Raises BadInputError as :meth:`load` does."""
        try:
            with np.load(self._path(name), allow_pickle=False) as file:
                return {key: file[key] for key in file.files if key in keys}
        except (OSError, ValueError, KeyError) as error:
            raise BadInputError(f"array file {name}: cannot be read ({error}); it is rebuilt by `parallax rescore`") from error

    def names_in(self, name: str) -> list[str]:
        """What the arrays of a file are called.  Raises BadInputError as :meth:`load` does."""
        try:
            with np.load(self._path(name), allow_pickle=False) as file:
                return list(file.files)
        except (OSError, ValueError) as error:
            raise BadInputError(f"array file {name}: cannot be read ({error}); it is rebuilt by `parallax rescore`") from error

    def remove(self, name: str) -> None:
        """Delete a file that may be gone already."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise BadInputError(f"array file {name!r}: the name leads out of the store")
        return path
