"""Which format a calibration is in, and where it lies in its folder, seen by its content."""

from __future__ import annotations

import json
from pathlib import Path

from label_config.values import BadInputError
from label_config.values.errors import CalibrationError
from ml_backend.geometry.calibration import (
    anipose,
    caliscope,
    dannce,
    easymocap,
    jarvis,
    kalibr,
    mc_calib,
    opencv,
    panoptic,
    pose2sim,
    qualisys,
    toml_cameras,
)
from ml_backend.geometry.calibration.safe_reading import read_text

#: Every format, in the order in which they are listed for people.
FORMATS = (anipose, opencv, pose2sim, qualisys, panoptic, dannce, easymocap, jarvis, caliscope, kalibr, mc_calib)
READABLE = (
    "anipose, caliscope or Pose2Sim TOML, OpenCV, JARVIS or MC-Calib YAML/XML, Kalibr camchain YAML, Qualisys .qca.txt, "
    "Panoptic JSON, DANNCE .mat, EasyMocap intri.yml + extri.yml"
)
#: What is known and not read: suffix → why, and the way round it.
_REFUSED = {
    ".xcp": "Vicon's calibration is not read, its lens model is another one",
    ".cal": "OptiTrack's calibration is not read, its definition is not public",
    ".mcal": "OptiTrack's calibration is not read, its definition is not public",
    ".pickle": "OpenCap's calibration is not read: a pickle can run any program",
    ".pkl": "a pickle is not read: it can run any program",
    ".npz": "arrays without a convention are not read",
    ".h5": "HDF5 calibrations are not read",
}
_PER_CAMERA = (opencv.FORMAT, jarvis.FORMAT, dannce.FORMAT)
_SUFFIXES = (".mat", ".yml", ".yaml", ".xml", ".toml", ".json", ".txt")


def locate(path: Path) -> tuple[Path, str]:
    """The file or folder to read, and its format.  Raises BadInputError when it is none of those that are read."""
    if easymocap.recognises(path):
        return path, easymocap.FORMAT
    if opencv.stereo_pair(path) is not None:
        return path, opencv.FORMAT
    return _in_folder(path) if path.is_dir() else (path, _file_format(path))


def detect_format(path: Path) -> str:
    """The name of the format of a file or folder.  Raises BadInputError when it is none of them."""
    return locate(path)[1]


def _in_folder(path: Path) -> tuple[Path, str]:
    """A folder with one file per camera, or the only calibration in it; files that are something else do not matter."""
    found: dict[Path, str] = {}
    reasons = []
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".") and file.is_file():
            try:
                found[file] = _file_format(file)
            except BadInputError as error:
                reasons.append(str(error))
    several = sorted({name for name in found.values() if name in _PER_CAMERA})
    single = [file for file, name in found.items() if name not in _PER_CAMERA]
    if len(several) == 1 and not single:
        return path, several[0]
    if len(single) == 1 and not several:
        return single[0], found[single[0]]
    if not found:
        why = f" ({reasons[0]})" if reasons else ""
        raise CalibrationError(f"{path}: expected a folder with a calibration, or one file per camera, found none{why}")
    listed = ", ".join(f"{file.name} ({name})" for file, name in found.items())
    raise CalibrationError(f"{path}: expected one calibration in the folder, found {listed[:500]}; name the file")


def _file_format(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in _REFUSED:
        raise CalibrationError(f"{path}: {_REFUSED[suffix]}; {_way_round()}")
    if suffix == ".mat":
        return dannce.FORMAT
    text = read_text(path)
    start = text.lstrip()
    if start.startswith("<"):
        return _xml_format(path, text)
    if start.startswith(("{", "[{")):
        return _json_format(path, text)
    if kalibr.recognises(text):
        return kalibr.FORMAT
    if start.startswith("%YAML") or "opencv-matrix" in text:
        return mc_calib.FORMAT if mc_calib.MARK in text else jarvis.FORMAT if jarvis.MARK in text else opencv.FORMAT
    if "camera_matrix:" in text and "distortion_model:" in text:
        why = "a ROS camera_info holds intrinsics only, which place no camera in the world"
        raise CalibrationError(f"{path}: {why}; calibrate the cameras together, with Kalibr for instance")
    return _toml_format(path, text)


def _xml_format(path: Path, text: str) -> str:
    if "<opencv_storage" in text:
        return opencv.FORMAT
    if "<calibration" in text.lower() or "<!doctype" in text.lower():  # the reader says what is wrong with a document type
        return qualisys.FORMAT
    raise CalibrationError(f"{path}: XML, but neither OpenCV's (<opencv_storage>) nor Qualisys' (<calibration>); {_way_round()}")


def _json_format(path: Path, text: str) -> str:
    document = panoptic.parse(path, text)
    if panoptic.recognises(document):
        return panoptic.FORMAT
    keys = ", ".join(map(json.dumps, list(document)[:10])) if isinstance(document, dict) else "a list"
    raise CalibrationError(f"{path}: JSON, but not Panoptic's (a list 'cameras' with K, R, t each), got {keys}; {_way_round()}")


def _toml_format(path: Path, text: str) -> str:
    try:
        document = toml_cameras.parse(path, text)
    except BadInputError as error:
        raise CalibrationError(f"{path}: is in none of the formats that are read: {READABLE} ({error})") from None
    if caliscope.tables(document):
        return caliscope.FORMAT
    if pose2sim.recognises(document):
        return pose2sim.FORMAT
    if toml_cameras.tables(document):
        return anipose.FORMAT
    raise CalibrationError(f"{path}: TOML, but no table of it describes a camera; {_way_round()}")


def _way_round() -> str:
    return f"read are {READABLE}; many tools export one of them, Pose2Sim converts others"
