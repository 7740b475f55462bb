"""MC-Calib ``calibrated_cameras_data.yml``: OpenCV storage with ``camera_pose_matrix`` camera → world; unit of the board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.geometry.calibration.lenses import refuse_unknown
from ml_backend.geometry.calibration.opencv_storage import read_storage
from ml_backend.geometry.calibration.safe_reading import Calibration, RawCamera, Sizes, Where
from ml_backend.geometry.calibration.settle import build
from ml_backend.geometry.cameras import Model

FORMAT = "mc-calib"
MARK = "camera_pose_matrix"
_MODELS: dict[str, Model] = {"0": "pinhole", "1": "fisheye"}


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file.  Raises BadInputError."""
    tables = {key: table for key, table in read_storage(path).items() if isinstance(table, Mapping) and MARK in table}
    cameras = [_camera(Where(path, name), table) for name, table in tables.items()]
    groups = {str(table.get("camera_group", "0")) for table in tables.values()}
    if len(groups) > 1:
        raise Where(path).fail("camera_group", "one group of cameras", f"{len(groups)}", "calibrate until all cameras are joined")
    return build(path, cameras, format=FORMAT, unit="m", unit_from="assumed", defined=True, sizes_px=sizes_px)


def _camera(where: Where, table: Mapping[str, Any]) -> RawCamera:
    refuse_unknown(where, table, ("distortion_vector", "distortion_type"))
    back = where.numbers(MARK, where.get(table, MARK), (4, 4))
    kind = str(table.get("distortion_type", "0"))
    if kind not in _MODELS:
        raise where.fail("distortion_type", "0 (Brown) or 1 (Kannala)", repr(kind))
    dist = where.numbers("distortion_vector", where.get(table, "distortion_vector"), (-1,))
    return RawCamera(
        name=str(where.camera),
        K=np.vstack((where.numbers("camera_matrix", where.get(table, "camera_matrix"), (3, 3))[:2], [0, 0, 1])),
        rotation=back[:3, :3].T,
        t=-back[:3, :3].T @ back[:3, 3],
        dist=dist[:4] if _MODELS[kind] == "fisheye" and np.allclose(dist[4:], 0) else dist,
        size_px=where.size("img_width, img_height", [where.get(table, "img_width"), where.get(table, "img_height")]),
        model=_MODELS[kind],
    )
