"""DANNCE and Label3D ``.mat``: MATLAB's row-vector convention (K and r transposed), millimetres, no picture sizes.

Either one file with ``params`` (and ``camnames``), a session saved by Label3D with ``camParams`` (and ``imageSize``), or a folder
with one ``*_params.mat`` per camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values.errors import CalibrationError
from ml_backend.child_processes.limited_child import read_limited
from ml_backend.geometry.calibration.safe_reading import Calibration, RawCamera, Sizes, Where
from ml_backend.geometry.calibration.settle import build

FORMAT = "dannce"
_READER = "ml_backend.child_processes.mat_file:read"


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file or folder.  Raises BadInputError."""
    cameras: list[RawCamera] = []
    notes = ["points are 0-based pixels"]
    for file in path.glob("*.mat") if path.is_dir() else [path]:
        if not file.name.startswith("."):
            _check_start(file)
    stored_in = read_limited(_READER, path, error=CalibrationError)
    for name, found in stored_in.items():
        file = path / name if path.is_dir() else path
        if len(stored_in) > 1 and not any("K" in stored for stored in found["cameras"]):
            notes.append(f"{file.name} has no camera in it: left out")
            continue
        if not found["several"] and not any("K" in stored for stored in found["cameras"]):
            inside = ", ".join(found["names"][:8]) or "nothing"
            raise Where(file).fail("params or camParams", "the cameras that DANNCE and Label3D store", f"a file with {inside}")
        for number, stored in enumerate(found["cameras"], start=1):
            default = f"Camera{number}" if found["several"] else file.stem.removesuffix("_params")
            cameras.append(_camera(Where(file, stored.get("name", default)), stored, _size(file, found["size"])))
    return build(path, cameras, format=FORMAT, unit="mm", notes=notes, row_vectors=True, sizes_px=sizes_px)


def _check_start(file: Path) -> None:
    """Raise BadInputError for what is no MATLAB v5 file at all, before a process is started for it."""
    try:
        with file.open("rb") as stream:
            head = stream.read(128)
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{file}: cannot be read: {error}") from None
    if b"MATLAB 7.3" in head or head.startswith(b"\x89HDF"):
        raise CalibrationError(f"{file}: expected a MATLAB v5 file, got v7.3 (HDF5); save it again in MATLAB with '-v7'")
    if head[126:128] not in (b"IM", b"MI"):
        raise CalibrationError(f"{file}: expected a MATLAB v5 file, got something else; save it in MATLAB with '-v7'")


def _size(file: Path, stored: Any) -> tuple[int, int] | None:
    """(width, height) of the pictures of all cameras; stored as height and width."""
    if stored is None:
        return None
    height, width = Where(file).numbers("imageSize", stored, (-1, 2))[0]
    return Where(file).size("imageSize", (width, height))


def _camera(where: Where, stored: Mapping[str, Any], size_px: tuple[int, int] | None) -> RawCamera:
    radial = where.numbers("RDistort", stored.get("RDistort", []), (-1,))
    tangential = where.numbers("TDistort", stored.get("TDistort", []), (-1,))
    if radial.size > 3 or tangential.size > 2:
        raise where.fail("RDistort, TDistort", "at most 3 and 2 coefficients", f"{radial.size} and {tangential.size}")
    k1, k2, k3 = np.pad(radial, (0, 3 - radial.size))
    p1, p2 = np.pad(tangential, (0, 2 - tangential.size))
    return RawCamera(
        name=str(where.camera),
        K=where.numbers("K", where.get(stored, "K"), (3, 3)),
        rotation=where.numbers("r", where.get(stored, "r"), (3, 3)),
        t=where.numbers("t", where.get(stored, "t"), (3,)),
        dist=np.array([k1, k2, p1, p2, k3]),
        size_px=size_px,
    )
