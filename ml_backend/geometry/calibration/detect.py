"""Which format a calibration is in, judged by its content."""

from __future__ import annotations

from pathlib import Path

from label_config.values import BadInputError
from ml_backend.geometry.calibration import anipose, dannce, easymocap, jarvis, opencv, panoptic, pose2sim, qualisys, toml_cameras
from ml_backend.geometry.calibration.base import read_text


def detect_format(path: Path) -> str:
    """The name of the format of a file or folder.  Raises BadInputError when it is none of them."""
    if easymocap.recognises(path):
        return easymocap.FORMAT
    return _folder_format(path) if path.is_dir() else _file_format(path)


def _folder_format(path: Path) -> str:
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in (".mat", ".yml", ".yaml", ".xml"):
            return _file_format(file)
    raise BadInputError(f"{path}: expected a folder with one calibration file per camera (.yaml, .xml or .mat), found none")


def _file_format(path: Path) -> str:
    if path.suffix.lower() == ".mat":
        return dannce.FORMAT
    text = read_text(path)
    start = text.lstrip()
    if start.startswith("<"):
        return opencv.FORMAT if "<opencv_storage" in text else qualisys.FORMAT
    if start.startswith("{"):
        return panoptic.FORMAT
    if start.startswith("%YAML") or "opencv-matrix" in text:
        return jarvis.FORMAT if jarvis.MARK in text else opencv.FORMAT
    try:
        document = toml_cameras.parse(path, text)
    except BadInputError as error:
        raise BadInputError(
            f"{path}: is in none of the formats that are read: anipose or Pose2Sim TOML, OpenCV or JARVIS YAML/XML, "
            f"Qualisys .qca.txt, Panoptic JSON, DANNCE .mat, EasyMocap intri.yml + extri.yml ({error})"
        ) from None
    return pose2sim.FORMAT if pose2sim.recognises(document) else anipose.FORMAT
