"""Anipose, aniposelib and caliscope ``calibration.toml``: tables ``cam_0``, ``cam_1`` … , rotation vectors world → camera.

The file does not say its unit; it is that of the calibration board, in practice millimetres.
"""

from __future__ import annotations

from pathlib import Path

from ml_backend.geometry.calibration import toml_cameras
from ml_backend.geometry.calibration.base import Calibration, Sizes, read_text, spread
from ml_backend.geometry.calibration.settle import build
from ml_backend.geometry.cameras import Rig

FORMAT = "anipose"


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file.  Raises BadInputError."""
    notes: list[str] = []
    cameras = toml_cameras.raw_cameras(path, toml_cameras.parse(path, read_text(path)), notes)
    calibration = build(path, cameras, format=FORMAT, unit="mm", notes=notes, sizes_px=sizes_px)
    unit = f"unit: not in the file, mm assumed (cameras are up to {spread(calibration.rig):.4g} apart)"
    return Calibration(calibration.rig, FORMAT, (*calibration.notes, unit))


def write(rig: Rig, path: Path) -> None:
    """Write the file, in the rig's own unit."""
    path.write_text(toml_cameras.text_of(rig, [f"cam_{i}" for i in range(len(rig))]), encoding="utf-8")
