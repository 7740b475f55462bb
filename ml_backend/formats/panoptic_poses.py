"""CMU Panoptic: bodies in 3-D and the calibration → points in the pictures of the HD cameras.

``<recording>/hdPose3d_stage1_coco19/body3DScene_<frame>.json`` holds the bodies of one instant: a number and 19 × (x, y, z,
confidence) in centimetres, -1 = not found.  ``<recording>/calibration_<recording>.json`` has the cameras; those of panel 0,
``00_00`` to ``00_30``, are the HD cameras, whose pictures the frame numbers count.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from label_config.settings.skeleton_files import load_skeleton
from label_config.values import FrameKey, ImageRef, PointState
from label_config.values.errors import LabelFileError
from label_config.values.refusing import refusing
from ml_backend.formats.json_file import load_json
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.geometry.calibration import read_calibration
from ml_backend.geometry.cameras import Rig

KEYPOINTS = 19
#: Bodies of one instant that are read; the dome holds fewer.
MOST_BODIES = 64
_FILE = re.compile(r"body3DScene_(\d{1,12})\.json")
_HD_PANEL = "00_"


def is_panoptic(path: Path) -> bool:
    """A folder with such files, or one of them."""
    if path.is_dir():
        return any(_FILE.fullmatch(file.name) for file in path.glob("body3DScene_*.json"))
    return _FILE.fullmatch(path.name) is not None


def read_panoptic_poses(path: Path) -> LabelSet:
    """Labels of every HD picture in which a keypoint lies; a body's number is its subject.  Raises BadInputError."""
    folder = path if path.is_dir() else path.parent
    files = sorted(folder.glob("body3DScene_*.json")) if path.is_dir() else [path]
    recording = folder.parent.name
    rig = _hd_cameras(folder.parent, recording)
    labels = [label for file in files for label in _labels(file, rig, recording)]
    notes = ("points are the projections of the data set's 3-D points: whether they can be seen is not said",)
    return LabelSet(load_skeleton("panoptic19"), tuple(labels), notes)


def _hd_cameras(folder: Path, recording: str) -> Rig:
    file = folder / f"calibration_{recording}.json"
    if not file.is_file():
        raise LabelFileError(f"{folder}: expected calibration_{recording}.json beside the folder of poses, found none")
    rig = read_calibration(file).rig
    names = [name for name in rig.names if name.startswith(_HD_PANEL)]
    if not names:
        raise LabelFileError(f"{file}: expected HD cameras, 00_00 to 00_30, got {', '.join(rig.names[:5])} …")
    return rig.subset(names)


def _labels(file: Path, rig: Rig, recording: str) -> list[LabelledImage]:
    found = _FILE.fullmatch(file.name)
    assert found is not None, "chosen by this pattern"
    frame, bodies = int(found[1]), _bodies(file)
    return [label for number, points in bodies for label in _of_body(rig, FrameKey(recording, frame), number, points)]


def _bodies(file: Path) -> list[tuple[int, Any]]:
    """(number, (19, 4) x, y, z, confidence) of each."""
    document = load_json(file)
    with refusing(LabelFileError, f"{file}: expected bodies with an id and joints19, {KEYPOINTS} × (x, y, z, confidence)"):
        bodies = document["bodies"][: MOST_BODIES + 1]
        found = [(int(body["id"]), np.array(body["joints19"], dtype=np.float64).reshape(KEYPOINTS, 4)) for body in bodies]
    if len(found) > MOST_BODIES or any(not 0 <= number < 10_000 for number, _ in found):
        raise LabelFileError(f"{file}: expected at most {MOST_BODIES} bodies numbered from 0 to 9999")
    return found


def _of_body(rig: Rig, key: FrameKey, subject: int, points: Any) -> list[LabelledImage]:
    known = np.isfinite(points).all(axis=1) & (points[:, 3] >= 0)
    xy_px = rig.project(np.where(known[:, None], points[:, :3], np.nan))
    placed = rig.inside(xy_px)
    return [
        LabelledImage(
            image=ImageRef(f"hdImgs/{camera.name}/{camera.name}_{key.index:08d}.jpg", size_px=camera.size_px),
            xy_px=np.where(placed[v, :, None], xy_px[v], np.nan),
            state=np.where(placed[v], PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64),
            view=camera.name,
            key=key,
            subject=subject,
        )
        for v, camera in enumerate(rig.cameras)
        if placed[v].any()
    ]
