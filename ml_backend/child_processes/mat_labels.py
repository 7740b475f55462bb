"""What a child process does of reading label files of MATLAB, those of MPII Human Pose and of Leeds Sports Pose."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from label_config.values.errors import LabelFileError

#: MPII's file has 12 MB, the largest of Leeds Sports Pose 3 MB.
MAX_BYTES = 256_000_000
#: Keypoint ids of MPII run from 0 to this - 1.
MPII_KEYPOINTS = 16


def read(path: Path) -> dict[str, Any]:
    """What is stored in the file.

    leeds    the array of Leeds Sports Pose as it is stored; or
    picture  (n,) number of the picture of each person of MPII, with ``names`` of the pictures
    points   (n, 16, 3) x, y and 1 visible, 0 hidden, NaN = not said; NaN = no point
    """
    with path.open("rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise LabelFileError(f"expected at most {MAX_BYTES:,} bytes, got a larger file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            contents = loadmat(BytesIO(raw), variable_names=["joints", "RELEASE"], struct_as_record=False, squeeze_me=True)
    except Exception as error:  # a damaged file can fail anywhere in the decoder
        raise LabelFileError(f"expected a MATLAB v5 file, it is damaged or something else: {str(error)[:200]}") from None
    if "RELEASE" in contents:
        return _mpii(contents["RELEASE"])
    if "joints" not in contents:
        raise LabelFileError("expected the variable 'joints' (Leeds Sports Pose) or 'RELEASE' (MPII Human Pose), found neither")
    stored = np.asarray(contents["joints"])
    if stored.dtype.kind not in "fiub":
        raise LabelFileError(f"expected numbers in 'joints', got {stored.dtype}")
    return {"leeds": stored.astype(np.float64)}


def _mpii(release: Any) -> dict[str, Any]:
    names, number, points = [], [], []
    for i, picture in enumerate(_several(_field(release, "annolist"))):
        names.append(str(_field(_field(picture, "image"), "name")))
        for person in _several(getattr(picture, "annorect", None)):
            placed = _several(getattr(getattr(person, "annopoints", None), "point", None))
            if placed:
                number.append(i)
                points.append(_pose(placed))
    table = np.stack(points) if points else np.zeros((0, MPII_KEYPOINTS, 3))
    return {"names": names, "picture": np.array(number, dtype=np.int64), "points": table}


def _pose(placed: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    pose = np.full((MPII_KEYPOINTS, 3), np.nan)
    for point in placed:
        keypoint = int(_field(point, "id"))
        if not 0 <= keypoint < MPII_KEYPOINTS:
            raise LabelFileError(f"expected keypoint ids 0 to {MPII_KEYPOINTS - 1}, got {keypoint}")
        visible = np.asarray(getattr(point, "is_visible", np.nan))
        seen = float(visible) if visible.size == 1 and visible.dtype.kind in "fiub" else _digit(visible)
        pose[keypoint] = float(_field(point, "x")), float(_field(point, "y")), seen
    return pose


def _digit(visible: Any) -> float:
    """Some visibilities are the characters 0 and 1, and some are empty."""
    return float(visible) if visible.size == 1 and str(visible) in ("0", "1") else float("nan")


def _several(value: Any) -> list[Any]:
    """The members of what MATLAB stores alone, in an array, or not at all."""
    return [] if value is None else list(np.atleast_1d(np.asarray(value, dtype=object)).ravel())


def _field(struct: Any, name: str) -> Any:
    if not hasattr(struct, name):
        raise LabelFileError(f"expected a struct with the field {name!r}, got {type(struct).__name__}")
    return getattr(struct, name)
