"""JARVIS: a folder with one YAML per camera; K and R are stored transposed, millimetres.  The file's name is the camera's."""

from __future__ import annotations

from pathlib import Path

from ml_backend.geometry.calibration.opencv import is_storage, one_per_file, placed_cameras
from ml_backend.geometry.calibration.safe_reading import Calibration, Sizes
from ml_backend.geometry.calibration.settle import build

FORMAT = "jarvis"
MARK = "intrinsicMatrix"


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the folder (or a single camera).  Raises BadInputError."""
    notes: list[str] = []
    files = [file for file in sorted(path.iterdir()) if is_storage(file)] if path.is_dir() else [path]
    cameras = placed_cameras(path, one_per_file(path, files, notes), notes)
    return build(path, cameras, format=FORMAT, unit="mm", notes=notes, row_vectors=True, sizes_px=sizes_px)
