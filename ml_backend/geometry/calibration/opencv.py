"""OpenCV FileStorage calibrations, YAML or XML.  OpenCV fixes the matrices, not the names, so several layouts are read:

* a list ``cameras`` of maps, or one map per camera, or one file per camera in a folder;
* flat keys with a camera's name or number behind them: ``K_left``, ``camera_matrix_0``, ``M1``;
* a stereo pair with one ``R`` and ``T``: the first camera is then the world.

Rotations may be vectors or matrices, world → camera.  The file does not say its unit; millimetres are assumed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from label_config.values import BadInputError
from ml_backend.geometry.calibration.base import Calibration, RawCamera, Sizes, Where, spread
from ml_backend.geometry.calibration.settle import build
from ml_backend.geometry.calibration.storage import read_storage
from ml_backend.geometry.cameras import Rig

FORMAT = "opencv"

#: Names in use for each value, lower case without underscores; the first one present wins.
_NAMES = {
    "K": ("k", "m", "cameramatrix", "intrinsicmatrix", "intrinsics", "intrinsic", "matrix"),
    "dist": ("d", "dist", "distcoeffs", "distcoef", "distortioncoefficients", "distortions", "distortion"),
    "R": ("rot", "rotationmatrix", "r", "rotation", "rvec", "rotationvector"),
    "t": ("t", "translationvector", "translation", "tvec"),
    "size": ("imagesize", "size", "resolution"),
    "width": ("imagewidth", "width", "w"),
    "height": ("imageheight", "height", "h"),
    "model": ("distortionmodel", "cameramodel", "model"),
    "fisheye": ("fisheye",),
    "name": ("name", "camera", "cameraname", "id"),
}
_FIELD_OF = {name: (field, rank) for field, names in _NAMES.items() for rank, name in enumerate(names)}

Fields = dict[str, Any]


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read a file, or a folder with one file per camera.  Raises BadInputError."""
    notes: list[str] = []
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in (".yml", ".yaml", ".xml")]
        found = {file.stem: fields_of(read_storage(file)) for file in files}
    else:
        found = cameras_in(path, read_storage(path), notes)
    cameras = [raw_camera(Where(path, name), fields) for name, fields in found.items()]
    calibration = build(path, cameras, format=FORMAT, unit="mm", notes=notes, sizes_px=sizes_px)
    unit = f"unit: not in the file, mm assumed (cameras are up to {spread(calibration.rig):.4g} apart)"
    return Calibration(calibration.rig, FORMAT, (*calibration.notes, unit))


def write(rig: Rig, path: Path) -> None:
    """Write YAML (or XML when ``path`` ends in .xml) that ``cv2.FileStorage`` reads: a list ``cameras`` of maps."""
    suffix = ".xml" if path.suffix.lower() == ".xml" else ".yml"
    storage = cv2.FileStorage(suffix, cv2.FileStorage_WRITE | cv2.FileStorage_MEMORY)
    storage.write("unit", rig.unit)
    storage.startWriteStruct("cameras", cv2.FileNode_SEQ)
    for camera in rig.cameras:
        storage.startWriteStruct("", cv2.FileNode_MAP)
        storage.write("name", camera.name)
        storage.write("image_width", camera.size_px[0])
        storage.write("image_height", camera.size_px[1])
        storage.write("distortion_model", camera.model)
        storage.write("camera_matrix", camera.K)
        storage.write("distortion_coefficients", camera.dist.reshape(1, -1) if camera.dist.size else np.zeros((1, 4)))
        storage.write("rotation_matrix", camera.R_cam_world)
        storage.write("translation_vector", camera.t_cam_world.reshape(3, 1))
        storage.endWriteStruct()
    storage.endWriteStruct()
    path.write_text(storage.releaseAndGetString(), encoding="utf-8")


def fields_of(table: Mapping[str, Any]) -> Fields:
    """Known values of one camera's map under their canonical names."""
    fields: Fields = {}
    rank_of: dict[str, int] = {}
    for key, value in table.items():
        field, rank = _FIELD_OF.get(_canonical(key), ("", 0))
        if field and rank < rank_of.get(field, len(_FIELD_OF)):
            fields[field], rank_of[field] = value, rank
    return fields


def cameras_in(path: Path, tree: Mapping[str, Any], notes: list[str]) -> dict[str, Fields]:
    """Camera name → canonical fields for any of the layouts.  Raises BadInputError when none fits."""
    listed = tree.get("cameras")
    if isinstance(listed, list):
        tables = [entry for entry in listed if isinstance(entry, Mapping)]
        fields = [fields_of(table) for table in tables]
        return {_text(entry.get("name", position)): entry for position, entry in enumerate(fields)}
    holder = listed if isinstance(listed, Mapping) else tree
    nested = {name: fields_of(table) for name, table in holder.items() if isinstance(table, Mapping)}
    nested = {name: fields for name, fields in nested.items() if "K" in fields}
    if nested:
        return nested
    flat = flat_cameras(tree)
    if flat:
        return _with_stereo_pose(tree, flat, notes)
    single = fields_of(tree)
    if "K" in single:
        return {path.stem: single}
    raise Where(path).fail("cameras", "the intrinsics of at least one camera", f"only {', '.join(list(tree)[:20]) or 'nothing'}")


def flat_cameras(tree: Mapping[str, Any]) -> dict[str, Fields]:
    """Keys such as ``K_left``, ``left_K`` or ``M1`` → fields of the cameras ``left`` and ``1``."""
    cameras: dict[str, dict[str, Any]] = {}
    for key, value in tree.items():
        split = _split(key)
        if split is not None:
            cameras.setdefault(split[1], {})[split[0]] = value
    found = {name: fields_of(table) for name, table in cameras.items()}
    return {name: fields for name, fields in found.items() if "K" in fields}


def raw_camera(where: Where, fields: Fields) -> RawCamera:
    """Canonical fields → raw camera.  Raises BadInputError."""
    size = fields.get("size")
    if size is None and {"width", "height"} <= fields.keys():
        size = [fields["width"], fields["height"]]
    fisheye = "fisheye" in str(fields.get("model", "")).lower() or str(fields.get("fisheye", 0)).lower() in ("1", "true")
    for key, what in (("R", "extrinsics (rotation world → camera)"), ("t", "extrinsics (translation world → camera)")):
        if key not in fields:
            raise where.fail(key, what, "none", "export extrinsics too; intrinsics alone place no camera in the world")
    return RawCamera(
        name=str(where.camera),
        K=where.numbers("K", where.get(fields, "K"), (3, 3)),
        rotation=where.numbers("R", fields["R"], (3, 3), (3,)),
        t=where.numbers("t", fields["t"], (3,)),
        dist=where.numbers("dist", fields.get("dist", []), (-1,)),
        size_px=None if size is None else where.size("size", size),
        model="fisheye" if fisheye else "pinhole",
    )


def _with_stereo_pose(tree: Mapping[str, Any], cameras: dict[str, Fields], notes: list[str]) -> dict[str, Fields]:
    """One R and T for two cameras: the second relative to the first (stereoCalibrate).  R1 and R2 are then rectifications."""
    common = fields_of(tree)
    if len(cameras) != 2 or any("t" in fields for fields in cameras.values()) or not {"R", "t"} <= common.keys():
        return cameras
    first, second = cameras
    notes.append(f"one R and T for two cameras: camera {first!r} is the world, camera {second!r} is placed relative to it")
    shared: Fields = {key: common[key] for key in ("size", "width", "height") if key in common}
    pose = {key: common[key] for key in ("R", "t")}
    return {
        first: {**shared, **cameras[first], "R": np.eye(3), "t": np.zeros(3)},
        second: {**shared, **cameras[second], **pose},
    }


def _split(key: str) -> tuple[str, str] | None:
    """``"K_left"`` → ``("K", "left")``; None for a key that names no camera."""
    digits = re.fullmatch(r"([A-Za-z_]+?)_?(\d+)", key)
    candidates = [digits.groups()] if digits else []
    parts = key.split("_")
    for cut in range(1, len(parts)):
        candidates.append(("_".join(parts[:cut]), "_".join(parts[cut:])))
        candidates.append(("_".join(parts[cut:]), "_".join(parts[:cut])))
    for field, name in candidates:
        if _canonical(field) in _FIELD_OF and _canonical(key) not in _FIELD_OF and name:
            return str(field), str(name)
    return None


def _canonical(key: str) -> str:
    return key.replace("_", "").lower()


def _text(value: Any) -> str:
    if isinstance(value, list | dict | np.ndarray):
        raise BadInputError(f"camera name: expected text, got {type(value).__name__}")
    return str(value)
