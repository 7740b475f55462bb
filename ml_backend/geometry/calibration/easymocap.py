"""EasyMocap: a folder with ``intri.yml`` (K, dist) and ``extri.yml`` (R as vector, Rot as matrix, T), metres."""

from __future__ import annotations

from pathlib import Path

from label_config.values.errors import CalibrationError
from ml_backend.geometry.calibration.opencv import flat_cameras, placed_cameras
from ml_backend.geometry.calibration.opencv_storage import read_storage
from ml_backend.geometry.calibration.safe_reading import Calibration, Sizes
from ml_backend.geometry.calibration.settle import build

FORMAT = "easymocap"
INTRINSICS, EXTRINSICS = "intri.yml", "extri.yml"


def recognises(path: Path) -> bool:
    """True for the folder that has both files and for either file of it."""
    folder = path if path.is_dir() else path.parent
    named = path.is_dir() or path.name in (INTRINSICS, EXTRINSICS)
    return named and (folder / INTRINSICS).is_file() and (folder / EXTRINSICS).is_file()


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the pair, given the folder or either file.  Raises BadInputError."""
    folder = path if path.is_dir() else path.parent
    for name in (INTRINSICS, EXTRINSICS):
        if not (folder / name).is_file():
            raise CalibrationError(f"{folder}: expected {INTRINSICS} and {EXTRINSICS} side by side, {name} is missing")
    tree = {**read_storage(folder / INTRINSICS), **read_storage(folder / EXTRINSICS)}
    tree.pop("names", None)
    notes: list[str] = []
    cameras = placed_cameras(folder, flat_cameras(folder, tree), notes)
    return build(folder, cameras, format=FORMAT, unit="m", notes=notes, sizes_px=sizes_px)
