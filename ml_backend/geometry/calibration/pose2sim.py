"""Pose2Sim ``Calib_*.toml``: anipose's tables named after the cameras, with metres and a ``fisheye`` flag."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_backend.geometry.calibration import toml_cameras
from ml_backend.geometry.calibration.safe_reading import Calibration, Sizes, convert_unit, read_text
from ml_backend.geometry.calibration.settle import UnitFrom, build
from ml_backend.geometry.cameras import Rig

FORMAT = "pose2sim"


def recognises(document: Mapping[str, Any]) -> bool:
    """True for tables that are named like their cameras and all carry the ``fisheye`` flag.

    aniposelib writes the flag for fisheye cameras only, in tables that are numbered from ``cam_0`` whatever the cameras' names.
    """
    tables = toml_cameras.tables(document)
    numbered = all(re.fullmatch(r"cam_(0|[1-9]\d*)", section) for section in tables)
    if numbered and all(table.get("fisheye") is True for table in tables.values()):
        return False
    return bool(tables) and all("fisheye" in table and table.get("name", section) == section for section, table in tables.items())


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file.  Raises BadInputError."""
    document = toml_cameras.parse(path, read_text(path))
    cameras, unit = toml_cameras.raw_cameras(path, document), toml_cameras.stated_unit(path, document)
    unit_from: UnitFrom = "file" if unit else "format"
    return build(path, cameras, format=FORMAT, unit=unit or "m", unit_from=unit_from, sizes_px=sizes_px)


def write(rig: Rig, path: Path) -> None:
    """Write the file in metres.  Raises BadInputError when the rig's unit is not a metric one."""
    text = toml_cameras.text_of(convert_unit(rig, "m"), list(rig.names), always_fisheye=True)
    path.write_text(text, encoding="utf-8")
