"""Anipose and aniposelib ``calibration.toml`` (also freemocap's): tables ``cam_0``, ``cam_1`` …, rotation vectors world → camera.

The file does not say its unit, unless we wrote it; it is that of the calibration board, in practice millimetres.
"""

from __future__ import annotations

from pathlib import Path

from ml_backend.geometry.calibration import toml_cameras
from ml_backend.geometry.calibration.safe_reading import Calibration, Sizes, read_text
from ml_backend.geometry.calibration.settle import UnitFrom, build
from ml_backend.geometry.cameras import Rig

FORMAT = "anipose"


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file.  Raises BadInputError."""
    document = toml_cameras.parse(path, read_text(path))
    cameras, unit = toml_cameras.raw_cameras(path, document), toml_cameras.stated_unit(path, document)
    unit_from: UnitFrom = "file" if unit else "assumed"
    return build(path, cameras, format=FORMAT, unit=unit or "mm", unit_from=unit_from, sizes_px=sizes_px)


def write(rig: Rig, path: Path) -> None:
    """Write the file, in the rig's own unit, which is written beside it."""
    text = toml_cameras.text_of(rig, [f"cam_{i}" for i in range(len(rig))], always_fisheye=False)
    path.write_text(text, encoding="utf-8")
