"""DANNCE and Label3D ``.mat``: MATLAB's row-vector convention (K and r transposed), millimetres, no picture sizes.

Either one file with ``params`` (and ``camnames``), or a folder with one ``*_params.mat`` per camera.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from label_config.values import BadInputError
from ml_backend.geometry.calibration.base import Calibration, RawCamera, Sizes, Where, read_bytes
from ml_backend.geometry.calibration.settle import build

FORMAT = "dannce"
#: Label files also hold labels and frame tables; only the calibration in them is decoded.
MAX_BYTES = 256_000_000
_FIELDS = ("K", "r", "t", "RDistort", "TDistort")


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file or folder.  Raises BadInputError."""
    cameras: list[RawCamera] = []
    for file in sorted(path.glob("*.mat")) if path.is_dir() else [path]:
        contents = _load(file)
        if "params" in contents:
            cameras += _from_params(file, contents)
        else:
            cameras.append(_camera(Where(file, file.stem.removesuffix("_params")), contents))
    notes = ["points are 0-based pixels"]
    return build(path, cameras, format=FORMAT, unit="mm", notes=notes, row_vectors=True, sizes_px=sizes_px)


def _load(file: Path) -> dict[str, Any]:
    raw = read_bytes(file, MAX_BYTES)
    if b"MATLAB 7.3" in raw[:128] or raw.startswith(b"\x89HDF"):
        raise BadInputError(f"{file}: expected a MATLAB v5 file, got v7.3 (HDF5); save it again in MATLAB with '-v7'")
    source: Any = BytesIO(raw)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(loadmat(source, variable_names=["params", "camnames", *_FIELDS]))
    except Exception as error:  # a damaged file can fail anywhere in the decoder
        raise BadInputError(f"{file}: expected a MATLAB v5 file, it is damaged or something else: {str(error)[:200]}") from None


def _from_params(file: Path, contents: Mapping[str, Any]) -> list[RawCamera]:
    params = _cells(contents["params"])
    names = [str(_scalar(cell)) for cell in _cells(contents["camnames"])] if "camnames" in contents else []
    if len(names) != len(params):
        names = [f"Camera{position + 1}" for position in range(len(params))]
    cameras = []
    for name, cell in zip(names, params, strict=True):
        where = Where(file, name)
        struct = _scalar(cell)
        if not isinstance(struct, np.void) or struct.dtype.names is None:
            raise where.fail("params", f"a struct with {', '.join(_FIELDS)}", type(struct).__name__)
        cameras.append(_camera(where, {field: struct[field] for field in struct.dtype.names}))
    return cameras


def _camera(where: Where, struct: Mapping[str, Any]) -> RawCamera:
    radial = where.numbers("RDistort", struct.get("RDistort", []), (-1,))
    tangential = where.numbers("TDistort", struct.get("TDistort", []), (-1,))
    if radial.size > 3 or tangential.size > 2:
        raise where.fail("RDistort, TDistort", "at most 3 and 2 coefficients", f"{radial.size} and {tangential.size}")
    k1, k2, k3 = np.pad(radial, (0, 3 - radial.size))
    p1, p2 = np.pad(tangential, (0, 2 - tangential.size))
    return RawCamera(
        name=str(where.camera),
        K=where.numbers("K", where.get(struct, "K"), (3, 3)),
        rotation=where.numbers("r", where.get(struct, "r"), (3, 3)),
        t=where.numbers("t", where.get(struct, "t"), (3,)),
        dist=np.array([k1, k2, p1, p2, k3]),
    )


def _cells(array: Any) -> list[Any]:
    return list(np.asarray(array, dtype=object).ravel()) if np.asarray(array).dtype == object else list(np.asarray(array).ravel())


def _scalar(cell: Any) -> Any:
    """The value inside MATLAB's nested 1×1 cells."""
    while isinstance(cell, np.ndarray) and cell.size == 1:
        cell = cell.ravel()[0]
    return cell
