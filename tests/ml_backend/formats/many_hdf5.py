"""Runs in a child process: reads every file of a folder with one HDF5 reader, and says what came of each."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.formats import dlc_h5, sleap_file  # their libraries are loaded before memory is limited

READERS = (dlc_h5, sleap_file)


def read_many(folder: Path) -> dict[str, Any]:
    """File name → value with lists for arrays, or None where the reader raised."""
    reader = importlib.import_module((folder / "reader").read_text())
    answers: dict[str, Any] = {}
    for path in sorted(folder.glob("*.h5")):
        try:
            found = reader.read(path)
        except Exception:  # any: the child turns them into words
            answers[path.name] = None
            continue
        answers[path.name] = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()}
    return {"answers": answers}
