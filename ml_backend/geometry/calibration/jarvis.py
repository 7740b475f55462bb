"""JARVIS: a folder with one YAML per camera; K and R are stored transposed, millimetres.  The file's name is the camera's."""

from __future__ import annotations

from pathlib import Path

from ml_backend.geometry.calibration.base import Calibration, Sizes, Where
from ml_backend.geometry.calibration.opencv import fields_of, raw_camera
from ml_backend.geometry.calibration.settle import build
from ml_backend.geometry.calibration.storage import read_storage

FORMAT = "jarvis"
MARK = "intrinsicMatrix"


def files_in(path: Path) -> list[Path]:
    """The YAML files of a folder, or the one file."""
    if not path.is_dir():
        return [path]
    return [file for file in sorted(path.iterdir()) if file.suffix.lower() in (".yml", ".yaml")]


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the folder (or a single camera).  Raises BadInputError."""
    cameras = [raw_camera(Where(file, file.stem), fields_of(read_storage(file))) for file in files_in(path)]
    return build(path, cameras, format=FORMAT, unit="mm", row_vectors=True, sizes_px=sizes_px)
