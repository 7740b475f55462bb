"""caliscope ``camera_array.toml`` (tables ``[cameras.0]``) and its older ``config.toml`` (``[cam_0]`` beside settings), metres.

Cameras marked ``ignore`` and those that are not placed yet (no rotation, or the text "null") are left out and noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_backend.geometry.calibration import toml_cameras
from ml_backend.geometry.calibration.safe_reading import Calibration, RawCamera, Sizes, Where, read_text
from ml_backend.geometry.calibration.settle import build

FORMAT = "caliscope"
#: Keys of caliscope's own, by which its tables differ from aniposelib's.
_MARKS = {"cam_id", "port", "rotation_count", "verified_resolutions", "ignore"}


def tables(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Camera's name → its table; empty for other files."""
    listed = document.get("cameras")
    if isinstance(listed, Mapping):
        found = {f"cam_{number}": table for number, table in listed.items() if isinstance(table, Mapping)}
    else:
        found = toml_cameras.tables(document)
    return found if any(_MARKS & set(table) for table in found.values()) else {}


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file.  Raises BadInputError."""
    notes: list[str] = []
    cameras: list[RawCamera] = []
    for name, table in tables(toml_cameras.parse(path, read_text(path))).items():
        if table.get("ignore") is True:
            notes.append(f"camera {name!r} is marked 'ignore' in the file: left out")
        elif any(table.get(key, "null") == "null" for key in ("matrix", "rotation", "translation")):
            notes.append(f"camera {name!r} has no place in the file yet: left out")
        else:
            if table.get("rotation_count"):
                notes.append(f"camera {name!r}: rotation_count turns pictures in caliscope only; ours are as recorded")
            cameras.append(toml_cameras.raw_camera(Where(path, name), table))
    return build(path, cameras, format=FORMAT, unit="m", notes=notes, sizes_px=sizes_px)
