"""The TOML tables of aniposelib, caliscope and Pose2Sim: one table per camera, rotation as a vector."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from label_config.values import BadInputError
from ml_backend.geometry.calibration.base import RawCamera, Where
from ml_backend.geometry.cameras import Rig


def parse(file: Path, text: str) -> dict[str, Any]:
    """TOML text → tables.  Raises BadInputError."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise BadInputError(f"{file}: expected TOML, got something else: {str(error)[:200]}") from None


def tables(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The tables that describe cameras: those with intrinsics or the name ``cam_…``."""
    return {
        section: table
        for section, table in document.items()
        if isinstance(table, Mapping) and ("matrix" in table or section.startswith("cam_"))
    }


def raw_cameras(file: Path, document: Mapping[str, Any], notes: list[str]) -> list[RawCamera]:
    """Every camera table as stored; cameras marked ``ignore`` (caliscope) are left out and noted."""
    cameras = []
    for section, table in tables(document).items():
        if table.get("ignore") is True:
            notes.append(f"camera {section!r} is marked 'ignore' in the file: left out")
            continue
        name = str(table.get("name", section))
        where = Where(file, name)
        size = table.get("size")
        cameras.append(
            RawCamera(
                name=name,
                K=where.numbers("matrix", where.get(table, "matrix"), (3, 3)),
                rotation=where.numbers("rotation", where.get(table, "rotation"), (3,), (3, 3)),
                t=where.numbers("translation", where.get(table, "translation"), (3,)),
                dist=where.numbers("distortions", table.get("distortions", []), (-1,)),
                size_px=where.size("size", size) if size else None,
                model="fisheye" if table.get("fisheye") is True else "pinhole",
            )
        )
    return cameras


def text_of(rig: Rig, sections: list[str]) -> str:
    """The rig as TOML; numbers are written so that they read back exactly."""
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
            "fisheye": json.dumps(camera.model == "fisheye"),
        }
        blocks.append("\n".join([f"[{json.dumps(section)}]", *(f"{key} = {value}" for key, value in entries.items())]))
    return "\n\n".join([*blocks, "[metadata]\nadjusted = false\nerror = 0.0"]) + "\n"


def _coefficients(dist: list[float]) -> list[float]:
    """No lens model is written as four zeros, which every reader of these files accepts."""
    return dist or [0.0] * 4
