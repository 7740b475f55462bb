"""Pose2Sim ``Calib_*.toml``: anipose's tables named after the cameras, with metres and a ``fisheye`` flag."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_backend.geometry.calibration import toml_cameras
from ml_backend.geometry.calibration.base import Calibration, Sizes, convert_unit, read_text, spread
from ml_backend.geometry.calibration.settle import build
from ml_backend.geometry.cameras import Rig

FORMAT = "pose2sim"
#: Cameras farther apart than this are in millimetres: nobody films one subject from 100 m.
_MOST_METRES = 100.0


def recognises(document: Mapping[str, Any]) -> bool:
    """True for tables that are named like their cameras and carry the ``fisheye`` flag."""
    tables = toml_cameras.tables(document)
    return bool(tables) and all("fisheye" in table and table.get("name", section) == section for section, table in tables.items())


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file.  Raises BadInputError."""
    notes: list[str] = []
    cameras = toml_cameras.raw_cameras(path, toml_cameras.parse(path, read_text(path)), notes)
    calibration = build(path, cameras, format=FORMAT, unit="m", notes=notes, sizes_px=sizes_px)
    apart = spread(calibration.rig)
    if apart <= _MOST_METRES:
        return calibration
    note = f"unit: mm, not the format's m: cameras are {apart:.4g} apart"
    return Calibration(Rig(calibration.rig.cameras, "mm"), FORMAT, (*calibration.notes, note))


def write(rig: Rig, path: Path) -> None:
    """Write the file in metres.  Raises BadInputError when the rig's unit is not a metric one."""
    path.write_text(toml_cameras.text_of(convert_unit(rig, "m"), list(rig.names)), encoding="utf-8")
