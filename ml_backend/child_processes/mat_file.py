"""What a child process does of reading MATLAB files: on damaged bytes scipy's decoder may crash, hang or exhaust memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat, whosmat

from label_config.values.errors import CalibrationError

#: Label files also hold labels and frame tables; only the calibration in them is decoded.
MAX_BYTES = 256_000_000
FIELDS = ("K", "r", "t", "RDistort", "TDistort")
#: Names of the cells with one struct per camera: DANNCE's, and those of Label3D's saved sessions.
_CELLS = ("params", "camParams")


def read(path: Path) -> dict[str, Any]:
    """Name of the file, or of each in the folder → what is stored in it.

    cameras  a list of fields → lists of numbers, "name" where there are names
    several  whether the file is made for several cameras
    size     (height, width), None = not said
    names    of everything in the file
    """
    if not path.is_dir():
        return {path.name: _cameras(path)}
    found = {}
    for file in sorted(path.glob("*.mat")):
        if not file.name.startswith("."):
            try:
                found[file.name] = _cameras(file)
            except CalibrationError as error:
                raise CalibrationError(f"{file.name}: {error}") from None
    return found


def _cameras(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise CalibrationError(f"expected a calibration of at most {MAX_BYTES:,} bytes, got a larger file")
    source: Any = BytesIO(raw)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            contents = dict(loadmat(source, variable_names=[*_CELLS, "camnames", "imageSize", *FIELDS]))
            inside = _names(raw)
    except Exception as error:  # a damaged file can fail anywhere in the decoder
        raise CalibrationError(f"expected a MATLAB v5 file, it is damaged or something else: {str(error)[:200]}") from None
    size = _plain(contents["imageSize"]) if "imageSize" in contents else None
    cells = next((contents[name] for name in _CELLS if name in contents), None)
    structs = [contents] if cells is None else [_struct(cell) for cell in np.asarray(cells, dtype=object).ravel()]
    cameras = [{field: _plain(struct[field]) for field in FIELDS if field in struct} for struct in structs]
    names = [str(_scalar(cell)) for cell in np.asarray(contents["camnames"]).ravel()] if "camnames" in contents else []
    if len(names) == len(cameras):
        for camera, name in zip(cameras, names, strict=True):
            camera["name"] = name
    return {"cameras": cameras, "several": cells is not None, "size": size, "names": inside}


def _names(raw: bytes) -> list[str]:
    """What the file holds, for messages; scipy cannot list objects of MATLAB's classes, as a saved session of Label3D has."""
    try:
        return [str(name) for name, *_ in whosmat(BytesIO(raw))]
    except TypeError:
        return []


def _struct(cell: Any) -> Mapping[str, Any]:
    struct = _scalar(cell)
    if not isinstance(struct, np.void) or struct.dtype.names is None:
        raise CalibrationError(f"params: expected a struct with {', '.join(FIELDS)} per camera, got {type(struct).__name__}")
    return {field: struct[field] for field in struct.dtype.names}


def _scalar(cell: Any) -> Any:
    """The value inside MATLAB's nested 1×1 cells."""
    while isinstance(cell, np.ndarray) and cell.size == 1:
        cell = cell.ravel()[0]
    return cell


def _plain(value: Any) -> Any:
    """Numbers as lists, anything else as text: what is wrong with it, the parent says."""
    array = np.asarray(value)
    if array.size == 1 and array.dtype == object:
        return _plain(array.ravel()[0])
    return array.tolist() if array.dtype.kind in "fiub" else str(value)[:200]
