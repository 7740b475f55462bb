"""The folder of real recordings and of files that other tools wrote; neither is part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("PARALLAX_DATA", Path(__file__).parents[2] / "shared" / "data"))


def needed(name: str) -> Path:
    """A file or folder there; the test is skipped where it is absent."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there; set PARALLAX_DATA to the folder of recordings")
    return path
