"""What looks wrong with a rig by itself: a list of findings in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from ml_backend.geometry.calibration.convergence import ASTRAY_DEG, common_point, off_axis_deg
from ml_backend.geometry.calibration.safe_reading import OFF_CENTRE, SWAPPED, implausible, off_centre
from ml_backend.geometry.cameras import Camera, Rig

#: Cameras closer than this share of the rig's extent, with the same direction, are one camera twice.
_SAME_PLACE = 1e-6
_SAME_DIRECTION_DEG = 0.1
#: Focal length in picture widths: below is wider than any lens, above is nearly orthographic.
_SHORTEST, _LONGEST = 0.2, 20.0
_MAX_ASPECT = 1.2
#: Cosine between two cameras' "down" from which they agree (or, negative, are opposed).
_CLEARLY = 0.2
#: Rounding of a camera's centre, as a share of its distance from the world's origin.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class CalibrationFinding:
    """One thing that is wrong ("error") or unlikely ("warning"); ``camera`` None = the rig as a whole."""

    level: Literal["error", "warning"]
    camera: str | None
    message: str


def check_rig(rig: Rig) -> list[CalibrationFinding]:
    """Findings in the order of the cameras, then those about the rig; empty when nothing is odd."""
    single = [finding for camera in rig.cameras for finding in _check_camera(camera)]
    return [*single, *_check_duplicates(rig), *_check_unit(rig), *_check_viewing(rig), *_check_upside_down(rig)]


def _check_camera(camera: Camera) -> Iterator[CalibrationFinding]:
    width, height = camera.size_px
    centre = camera.K[:2, 2]
    cx, cy = centre
    if not (0 <= cx < width and 0 <= cy < height):
        swapped = "; width and height may be swapped" if 0 <= cx < height and 0 <= cy < width else ""
        text = f"principal point ({cx:.1f}, {cy:.1f}) is outside the picture of {width}×{height}{swapped}"
        yield CalibrationFinding("error", camera.name, text)
    elif off_centre(centre, (height, width)) < off_centre(centre, (width, height)) - SWAPPED:
        fits = f"fits a picture of {height}×{width}, not {width}×{height}: width and height swapped?"
        text = f"principal point ({cx:.1f}, {cy:.1f}) {fits}"
        yield CalibrationFinding("error", camera.name, text)
    elif off_centre(centre, (width, height)) > OFF_CENTRE:
        text = (
            f"principal point ({cx:.1f}, {cy:.1f}) is far from the middle of {width}×{height}: cropped pictures, or a wrong size?"
        )
        yield CalibrationFinding("warning", camera.name, text)
    fx, fy = camera.K[0, 0], camera.K[1, 1]
    if fx < _SHORTEST * max(width, height):
        text = f"focal length {fx:.1f} px is improbably short for a picture {width} wide: in millimetres instead of pixels?"
        yield CalibrationFinding("error", camera.name, text)
    elif fx > _LONGEST * max(width, height):
        text = f"focal length {fx:.0f} px is {fx / width:.0f} picture widths: nearly orthographic, depth is poorly determined"
        yield CalibrationFinding("warning", camera.name, text)
    if not 1 / _MAX_ASPECT < fx / fy < _MAX_ASPECT:
        yield CalibrationFinding(
            "warning", camera.name, f"focal lengths {fx:.1f} and {fy:.1f} px differ: pixels that are not square?"
        )
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], dtype=np.float64)
    if not np.isfinite(camera.undistort(corners)).all():
        text = f"lens coefficients {camera.dist.tolist()} fold the picture over before its corners: too many for the data?"
        if camera.model == "fisheye":
            text = "its corners look 90° or more away from its axis, or the lens folds there: points in them have no place in 3-D"
        yield CalibrationFinding("warning", camera.name, text)


def _check_duplicates(rig: Rig) -> Iterator[CalibrationFinding]:
    centres = np.stack([camera.centre for camera in rig.cameras])
    extent = np.linalg.norm(centres - centres.mean(axis=0), axis=1).max()  # not the distance from the origin: that may be a map's
    same = max(_SAME_PLACE * extent, _ROUNDING * float(np.abs(centres).max()))
    for a, b in combinations(rig.cameras, 2):
        apart = float(np.linalg.norm(a.centre - b.centre))
        turned = np.degrees(np.arccos(np.clip((np.trace(a.R_cam_world @ b.R_cam_world.T) - 1) / 2, -1, 1)))
        if apart <= same and turned < _SAME_DIRECTION_DEG:
            yield CalibrationFinding(
                "error", b.name, f"has the same position and direction as camera {a.name!r}: one camera twice"
            )


def _check_unit(rig: Rig) -> Iterator[CalibrationFinding]:
    text = implausible(rig)
    if text:
        yield CalibrationFinding("warning", None, text)


def _check_viewing(rig: Rig) -> Iterator[CalibrationFinding]:
    """Cheirality with respect to the point nearest to all optical axes."""
    centres = np.stack([camera.centre for camera in rig.cameras])
    axes = np.stack([camera.axis for camera in rig.cameras])
    angles, point = off_axis_deg(centres, axes), common_point(centres, axes)
    if angles is None or point is None:
        return
    behind = [camera for camera, angle in zip(rig.cameras, angles, strict=True) if angle > 90]
    if len(behind) == len(rig):
        text = (
            "all cameras look away from the point where their axes meet: either they stand back to back and share no view, which "
            "leaves nothing to triangulate, or the file has the camera's axes as in OpenGL (y up, z backwards); then multiply R "
            "and t by diag(1, −1, −1)"
        )
        yield CalibrationFinding("error", None, text)
        return
    for camera in behind:
        text = (
            f"the point where the cameras' axes meet, {np.round(point, 3).tolist()}, lies behind it: R or t is wrong, or inverted"
        )
        yield CalibrationFinding("error", camera.name, text)
    for camera, angle in zip(rig.cameras, angles, strict=True):
        if ASTRAY_DEG < angle <= 90:
            yield CalibrationFinding("warning", camera.name, f"looks {angle:.0f}° past the point where the cameras' axes meet")


def _check_upside_down(rig: Rig) -> Iterator[CalibrationFinding]:
    """Cameras whose pictures stand on their heads for most of the others, where these agree about what is down."""
    down = np.stack([camera.R_cam_world[1] for camera in rig.cameras])
    opposed = down @ down.T < -_CLEARLY
    agreed = down @ down.T > _CLEARLY
    for camera, against, same in zip(rig.cameras, opposed.sum(axis=1), agreed.sum(axis=1), strict=True):
        if against > len(rig) / 2 > same:
            yield CalibrationFinding("warning", camera.name, "is mounted upside down, or two of its axes have the wrong sign")
