"""Kalibr ``camchain*.yaml`` (also OpenVINS' edition): cameras ``cam0``, ``cam1`` … placed by the IMU or by one another, metres.

``T_cam_imu`` maps IMU → camera, ``T_imu_cam`` camera → IMU, ``T_cn_cnm1`` the camera before → this one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import FloatArray
from ml_backend.geometry.calibration.lenses import lens_model, refuse_unknown
from ml_backend.geometry.calibration.opencv_storage import read_storage
from ml_backend.geometry.calibration.safe_reading import Calibration, RawCamera, Sizes, Where
from ml_backend.geometry.calibration.settle import build

FORMAT = "kalibr"
_LENS_KEYS = ("camera_model", "distortion_model", "distortion_coeffs")
#: Two statements about one pose may differ this much, metres and radians.
_SAME_POSE = 1e-3


def recognises(text: str) -> bool:
    """True for YAML with tables ``cam0`` … that hold Kalibr's keys."""
    return bool(re.search(r"^cam\d+:", text, re.MULTILINE)) and "intrinsics:" in text and "camera_model:" in text


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file.  Raises BadInputError; also for a single camera that nothing places in the world."""
    tree = read_storage(path)
    named = {key: table for key, table in tree.items() if re.fullmatch(r"cam\d{1,6}", key) and isinstance(table, Mapping)}
    tables = {name: named[name] for name in sorted(named, key=lambda name: int(name[3:]))}
    poses, world = _poses(path, tables)
    cameras = [_camera(Where(path, name), table, poses[name]) for name, table in tables.items()]
    return build(path, cameras, format=FORMAT, unit="m", notes=[f"the world is the {world}"], defined=True, sizes_px=sizes_px)


def _poses(path: Path, tables: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, FloatArray], str]:
    """Name → (4, 4) world → camera, and what the world is."""
    by_imu = {name: pose for name, table in tables.items() if (pose := _imu_pose(Where(path, name), table)) is not None}
    chain: dict[str, FloatArray] = {}
    previous = None
    for name, table in tables.items():
        where = Where(path, name)
        if previous is None:
            chain[name] = np.eye(4)
        elif "T_cn_cnm1" in table and previous in chain:
            chain[name] = _transform(where, "T_cn_cnm1", table["T_cn_cnm1"]) @ chain[previous]
        if previous is not None and previous in by_imu and name in by_imu and "T_cn_cnm1" in table:
            relative: FloatArray = by_imu[name] @ np.linalg.inv(by_imu[previous])
            off = float(np.abs(relative - _transform(where, "T_cn_cnm1", table["T_cn_cnm1"])).max())
            if off > _SAME_POSE:
                raise where.fail("T_cn_cnm1", "the pose that T_cam_imu gives", f"another by {off:.3g}", "keep one of the two")
        previous = name
    if len(by_imu) == len(tables):
        return by_imu, "IMU"
    if len(tables) > 1 and len(chain) == len(tables):
        return chain, f"camera {next(iter(tables))!r}"
    lost = next(name for name in tables if name not in by_imu)
    fix = "calibrate the cameras together; intrinsics alone place no camera in the world"
    raise Where(path, lost).fail("T_cam_imu or T_cn_cnm1", "extrinsics", "none", fix)


def _imu_pose(where: Where, table: Mapping[str, Any]) -> FloatArray | None:
    if "T_cam_imu" in table:
        return _transform(where, "T_cam_imu", table["T_cam_imu"])
    if "T_imu_cam" not in table:
        return None
    back = _transform(where, "T_imu_cam", table["T_imu_cam"])
    R, centre = back[:3, :3].T, back[:3, 3]
    return np.vstack((np.column_stack((R, -R @ centre)), [0, 0, 0, 1]))


def _transform(where: Where, key: str, value: Any) -> FloatArray:
    matrix = where.numbers(key, value, (4, 4))
    if not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6) or np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max() > 1e-2:
        raise where.fail(key, "a 4×4 matrix of a rotation and a shift", f"{matrix.tolist()}")
    return matrix


def _camera(where: Where, table: Mapping[str, Any], pose: FloatArray) -> RawCamera:
    refuse_unknown(where, table, _LENS_KEYS)
    camera_model = str(table.get("camera_model", "pinhole"))
    if camera_model != "pinhole":
        raise where.fail("camera_model", "pinhole", repr(camera_model), "calibrate with a pinhole model")
    fx, fy, cx, cy = where.numbers("intrinsics", where.get(table, "intrinsics"), (4,))
    return RawCamera(
        name=str(where.camera),
        K=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        rotation=pose[:3, :3],
        t=pose[:3, 3],
        dist=where.numbers("distortion_coeffs", where.get(table, "distortion_coeffs"), (-1,)),
        size_px=where.size("resolution", table["resolution"]) if "resolution" in table else None,
        model=lens_model(where, "distortion_model", where.get(table, "distortion_model")),
    )
