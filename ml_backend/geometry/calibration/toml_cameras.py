"""The TOML tables of aniposelib, caliscope and Pose2Sim: one table per camera, rotation as a vector."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from label_config.values.errors import CalibrationError
from ml_backend.geometry.calibration.lenses import refuse_unknown
from ml_backend.geometry.calibration.safe_reading import UNITS, RawCamera, Where
from ml_backend.geometry.cameras import Rig

#: Keys of a camera's table that are read.
_KEYS = ("name", "size", "matrix", "distortions", "rotation", "translation", "fisheye")


def parse(file: Path, text: str) -> dict[str, Any]:
    """TOML text → tables.  Raises BadInputError."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise CalibrationError(f"{file}: expected TOML, got something else: {str(error)[:200]}") from None


def tables(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The tables that describe cameras: those with intrinsics or the name ``cam_…``."""
    return {
        section: table
        for section, table in document.items()
        if isinstance(table, Mapping) and ("matrix" in table or section.startswith("cam_"))
    }


def stated_unit(file: Path, document: Mapping[str, Any]) -> str | None:
    """The unit in ``[metadata]``, where we write it.  Raises BadInputError for one that is not a length."""
    metadata = document.get("metadata")
    unit = metadata.get("unit") if isinstance(metadata, Mapping) else None
    if unit is not None and (not isinstance(unit, str) or unit not in UNITS):
        raise Where(file).fail("metadata.unit", f"one of {', '.join(UNITS)}", repr(unit))
    return unit


def raw_camera(where: Where, table: Mapping[str, Any]) -> RawCamera:
    """One camera's table as stored.  Raises BadInputError."""
    refuse_unknown(where, table, _KEYS)
    fisheye, size = table.get("fisheye", False), table.get("size")
    if not isinstance(fisheye, bool):
        raise where.fail("fisheye", "true or false", repr(fisheye))
    return RawCamera(
        name=str(where.camera),
        K=where.numbers("matrix", where.get(table, "matrix"), (3, 3)),
        rotation=where.numbers("rotation", where.get(table, "rotation"), (3,), (3, 3)),
        t=where.numbers("translation", where.get(table, "translation"), (3,)),
        dist=where.numbers("distortions", table.get("distortions", []), (-1,)),
        size_px=where.size("size", size) if size else None,
        model="fisheye" if fisheye else "pinhole",
    )


def raw_cameras(file: Path, document: Mapping[str, Any]) -> list[RawCamera]:
    """Every camera table as stored."""
    found = tables(document).items()
    return [raw_camera(Where(file, str(table.get("name", section))), table) for section, table in found]


def text_of(rig: Rig, sections: list[str], *, always_fisheye: bool) -> str:
    """The rig as TOML, with its unit; numbers are written so that they read back exactly.

    always_fisheye  write the key ``fisheye`` for every camera, as Pose2Sim does; else only where it is true, as aniposelib does
    """
    blocks = []
    for section, camera in zip(sections, rig.cameras, strict=True):
        rotation_vector = Rotation.from_matrix(camera.R_cam_world).as_rotvec()
        entries = {
            "name": json.dumps(camera.name, ensure_ascii=False),
            "size": json.dumps(list(camera.size_px)),
            "matrix": json.dumps(camera.K.tolist()),
            "distortions": json.dumps(_coefficients(camera.dist.tolist())),
            "rotation": json.dumps(np.asarray(rotation_vector).tolist()),
            "translation": json.dumps(camera.t_cam_world.tolist()),
        }
        if always_fisheye or camera.model == "fisheye":
            entries["fisheye"] = json.dumps(camera.model == "fisheye")
        blocks.append("\n".join([f"[{json.dumps(section)}]", *(f"{key} = {value}" for key, value in entries.items())]))
    return "\n\n".join([*blocks, f"[metadata]\nadjusted = false\nerror = 0.0\nunit = {json.dumps(rig.unit)}"]) + "\n"


def _coefficients(dist: list[float]) -> list[float]:
    """No lens model is written as four zeros, which every reader of these files accepts."""
    return dist or [0.0] * 4
