"""OpenCV FileStorage calibrations, YAML or XML.  OpenCV fixes the matrices, not the names, so several layouts are read:

* a list ``cameras`` of maps, or one map per camera, or one file per camera in a folder;
* flat keys with a camera's name or number behind them: ``K_left``, ``camera_matrix_0``, ``M1``;
* a stereo pair with one ``R`` and ``T``, in one file or in ``intrinsics.yml`` and ``extrinsics.yml``; the first camera is then
  the world.

Rotations may be vectors or matrices, world → camera.  The file does not say its unit unless we wrote it; millimetres are assumed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from label_config.values import FloatArray
from label_config.values.errors import CalibrationError
from ml_backend.geometry.calibration.lenses import lens_model, refuse_unknown
from ml_backend.geometry.calibration.opencv_storage import read_storage
from ml_backend.geometry.calibration.safe_reading import UNITS, Calibration, RawCamera, Sizes, Where
from ml_backend.geometry.calibration.settle import UnitFrom, build
from ml_backend.geometry.cameras import Rig

FORMAT = "opencv"

#: Names in use for each value, lower case without underscores; the first one present wins.
_NAMES = {
    "K": ("k", "m", "cameramatrix", "intrinsicmatrix", "intrinsics", "intrinsic", "matrix"),
    "dist": (
        *("d", "dist", "distcoeffs", "distcoeff", "distcoefs", "distcoef", "distortioncoefficients", "distortioncoeffs"),
        *("distortionvector", "distortionparameters", "distortions", "distortion"),
    ),
    "R": ("rot", "rotationmatrix", "r", "rotation", "rvec", "rotationvector"),
    "t": ("t", "translationvector", "translation", "tvec"),
    "size": ("imagesize", "size", "resolution"),
    "width": ("imagewidth", "width", "w"),
    "height": ("imageheight", "height", "h"),
    "model": ("distortionmodel", "lensmodel", "model"),
    "projection": ("cameramodel", "projectionmodel"),
    "fisheye": ("fisheye",),
    "name": ("name", "camera", "cameraname", "id"),
}
_FIELD_OF = {name: (field, rank) for field, names in _NAMES.items() for rank, name in enumerate(names)}

Fields = dict[str, Any]


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read a file, or a folder with one file per camera.  Raises BadInputError."""
    notes: list[str] = []
    unit: str | None = None
    pair = stereo_pair(path)
    if pair is not None:
        found = cameras_in(path, {**read_storage(pair[0]), **read_storage(pair[1])}, notes)
        notes.append(f"read {pair[0].name} and {pair[1].name} together")
    elif path.is_dir():
        found = one_per_file(path, [file for file in sorted(path.iterdir()) if is_storage(file)], notes)
    else:
        tree = read_storage(path)
        found, unit = cameras_in(path, tree, notes), _stated_unit(path, tree)
    cameras = placed_cameras(path, found, notes)
    unit_from: UnitFrom = "file" if unit else "assumed"
    return build(path, cameras, format=FORMAT, unit=unit or "mm", unit_from=unit_from, notes=notes, sizes_px=sizes_px)


def is_storage(file: Path) -> bool:
    """A visible file whose name is that of OpenCV's storage."""
    return file.suffix.lower() in (".yml", ".yaml", ".xml") and not file.name.startswith(".") and file.is_file()


def stereo_pair(path: Path) -> tuple[Path, Path] | None:
    """The two files that OpenCV's stereo_calib writes, given their folder or either of them."""
    folder = path if path.is_dir() else path.parent
    for suffix in (".yml", ".yaml", ".xml"):
        pair = folder / f"intrinsics{suffix}", folder / f"extrinsics{suffix}"
        if (path.is_dir() or path in pair) and all(file.is_file() for file in pair):
            return pair
    return None


def one_per_file(path: Path, files: Sequence[Path], notes: list[str]) -> dict[str, Fields]:
    """Camera (the file's name) → fields, for a folder; files without intrinsics are left out and noted."""
    found = {}
    for file in files:
        tree = read_storage(file)
        if any(_FIELD_OF.get(_canonical(key), ("", 0))[0] == "K" for key in tree):
            found[file.stem] = fields_of(tree, Where(file))
        else:
            notes.append(f"{file.name} has no camera in it: left out")
    if not found:
        raise Where(path).fail("cameras", "the intrinsics of at least one camera", f"none in {len(files)} files")
    return found


def placed_cameras(path: Path, found: Mapping[str, Fields], notes: list[str]) -> list[RawCamera]:
    """The cameras that have a place in the world; those with intrinsics alone are left out and noted.

    Raises BadInputError when no camera has one.
    """
    lost = [name for name, fields in found.items() if not {"R", "t"} & fields.keys()]
    if lost and len(lost) < len(found):
        notes.append(f"{len(lost)} cameras have intrinsics only and no place in the world: left out ({', '.join(lost)})")
        found = {name: fields for name, fields in found.items() if name not in lost}
    return [raw_camera(Where(path, name), fields) for name, fields in found.items()]


def _stated_unit(path: Path, tree: Mapping[str, Any]) -> str | None:
    unit = tree.get("unit")
    if unit is not None and (not isinstance(unit, str) or unit not in UNITS):
        raise Where(path).fail("unit", f"one of {', '.join(UNITS)}", repr(unit))
    return unit


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


def fields_of(table: Mapping[str, Any], where: Where) -> Fields:
    """Known values of one camera's map under their canonical names.  Raises BadInputError for others about the lens."""
    refuse_unknown(
        where, (key for key in table if _canonical(key) not in _FIELD_OF), ("camera_matrix", "distortion_coefficients")
    )
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
        fields = [fields_of(table, Where(path)) for table in tables]
        return {_text(entry.get("name", position)): entry for position, entry in enumerate(fields)}
    holder = listed if isinstance(listed, Mapping) else tree
    nested = {name: fields_of(table, Where(path, name)) for name, table in holder.items() if isinstance(table, Mapping)}
    nested = {name: fields for name, fields in nested.items() if "K" in fields}
    if nested:
        return nested
    flat = flat_cameras(path, tree)
    if flat:
        return _with_stereo_pose(path, tree, flat, notes)
    single = fields_of(tree, Where(path))
    if "K" in single:
        return {path.stem: single}
    raise Where(path).fail("cameras", "the intrinsics of at least one camera", f"only {', '.join(list(tree)[:20]) or 'nothing'}")


def flat_cameras(path: Path, tree: Mapping[str, Any]) -> dict[str, Fields]:
    """Keys such as ``K_left``, ``left_K`` or ``M1`` → fields of the cameras ``left`` and ``1``."""
    cameras: dict[str, dict[str, Any]] = {}
    for key, value in tree.items():
        split = _split(key)
        if split is not None:
            cameras.setdefault(split[1], {})[split[0]] = value
    found = {name: fields_of(table, Where(path, name)) for name, table in cameras.items()}
    return {name: fields for name, fields in found.items() if "K" in fields}


def raw_camera(where: Where, fields: Fields) -> RawCamera:
    """Canonical fields → raw camera.  Raises BadInputError."""
    size = fields.get("size")
    if size is None and {"width", "height"} <= fields.keys():
        size = [fields["width"], fields["height"]]
    lens_model(where, "camera_model", fields.get("projection", "pinhole"))
    model = lens_model(where, "distortion_model", fields.get("model", fields.get("projection", "")))
    if str(fields.get("fisheye", 0)).lower() in ("1", "true"):
        model = "fisheye"
    for key, what in (("R", "extrinsics (rotation world → camera)"), ("t", "extrinsics (translation world → camera)")):
        if key not in fields:
            raise where.fail(key, what, "none", "export extrinsics too; intrinsics alone place no camera in the world")
    return RawCamera(
        name=str(where.camera),
        K=_intrinsics(where, where.get(fields, "K")),
        rotation=where.numbers("R", fields["R"], (3, 3), (3,)),
        t=where.numbers("t", fields["t"], (3,)),
        dist=where.numbers("dist", fields.get("dist", []), (-1,)),
        size_px=None if size is None else where.size("size", size),
        model=model,
    )


def _intrinsics(where: Where, value: Any) -> FloatArray:
    """A matrix, or fx fy cx cy."""
    numbers = where.numbers("K", value, (3, 3), (4,))
    if numbers.shape == (3, 3):
        return numbers
    fx, fy, cx, cy = numbers
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def _with_stereo_pose(path: Path, tree: Mapping[str, Any], cameras: dict[str, Fields], notes: list[str]) -> dict[str, Fields]:
    """One R and T for two cameras: the second relative to the first (stereoCalibrate).  R1 and R2 are then rectifications."""
    common = fields_of({key: value for key, value in tree.items() if _split(key) is None}, Where(path))
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
        raise CalibrationError(f"camera name: expected text, got {type(value).__name__}")
    return str(value)
