"""Qualisys Track Manager ``.qca.txt``: XML, intrinsics in 1/64 pixel, camera axes x right, y up, z backwards, millimetres."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from label_config.values import FloatArray
from ml_backend.geometry.calibration.safe_reading import Calibration, RawCamera, Sizes, Where, read_text
from ml_backend.geometry.calibration.settle import build
from ml_backend.geometry.calibration.xml import Element, parse

FORMAT = "qualisys"
#: Qualisys counts 64 sub-pixels to a pixel.
_SUBPIXELS = 64.0
#: Models that record pictures ("none": anonymised).
_VIDEO = ("video", "hybrid", "none")
#: Qualisys camera axes → x right, y down, z forwards.
_AXES = np.diag([1.0, -1.0, -1.0])


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file.  Raises BadInputError.  Inactive cameras and, where there are video cameras, all others are left out."""
    root = parse(path, read_text(path))
    notes = ["K and lens coefficients divided by 64; camera axes turned to x right, y down, z forwards"]
    cameras = []
    for element in _video_cameras(root, notes):
        where = Where(path, element.get("serial", "?"))
        if element.get("viewrotation", "0") not in ("0", "0.0"):
            rotation = element.get("viewrotation")
            notes.append(
                f"camera {where.camera!r}: viewrotation {rotation}° is not applied: pictures must be as the sensor delivers"
            )
        cameras.append(_camera(where, element))
    return build(path, cameras, format=FORMAT, unit="mm", notes=notes, defined=True, sizes_px=sizes_px)


def _video_cameras(root: Element, notes: list[str]) -> list[Element]:
    active = [element for element in root.iter("camera") if element.get("active", "1") != "0"]
    video = [element for element in active if any(kind in element.get("model", "").lower() for kind in _VIDEO)]
    kept = video or active
    dropped = sum(1 for _ in root.iter("camera")) - len(kept)
    if dropped:
        notes.append(f"{dropped} inactive or marker cameras left out")
    return kept


def _camera(where: Where, element: Element) -> RawCamera:
    field = _attributes(where, element, "fov_video")
    left, top = _number(where, field, "left"), _number(where, field, "top")
    inside = _attributes(where, element, "intrinsic")
    outside = _attributes(where, element, "transform")
    u, v = _number(where, inside, "centerPointU"), _number(where, inside, "centerPointV")
    fu, fv = _number(where, inside, "focalLengthU"), _number(where, inside, "focalLengthV")
    lens = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2", "radialDistortion3")
    R = np.array([[_number(where, outside, f"r{i}{j}") for j in (1, 2, 3)] for i in (1, 2, 3)])
    centre = np.array([_number(where, outside, axis) for axis in "xyz"])
    return RawCamera(
        name=str(where.camera),
        K=np.array([[fu / _SUBPIXELS, 0, u / _SUBPIXELS - left], [0, fv / _SUBPIXELS, v / _SUBPIXELS - top], [0, 0, 1]]),
        rotation=_AXES @ R,
        t=_AXES @ -R @ centre,
        dist=np.array([_number(where, inside, key) for key in lens]) / _SUBPIXELS,
        size_px=where.size("fov_video", [_number(where, field, "right") - left + 1, _number(where, field, "bottom") - top + 1]),
    )


def _attributes(where: Where, element: Element, tag: str) -> Mapping[str, str]:
    child = element.find(tag)
    if child is None:
        raise where.fail(
            tag, "this element", f"only {', '.join(sub.tag for sub in element) or 'none'}", "export the calibration again"
        )
    return child.attrib


def _number(where: Where, attributes: Mapping[str, str], key: str) -> float:
    value: FloatArray = where.numbers(key, where.get(attributes, key), (1,))
    return float(value[0])
