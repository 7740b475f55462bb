"""What points in its pictures say about a rig: a list of findings in plain words, with their figures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from label_config.values import FloatArray
from ml_backend.geometry.calibration.check import CalibrationFinding
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.diagnosis import SUSPECT_SHARE, all_view_error, camera_errors, frame_offsets, suspect_camera
from ml_backend.geometry.triangulation import triangulate_robust

#: Median reprojection error that a calibration and careful points stay below, as a share of the picture's diagonal.
_GOOD_ERROR = 0.01
_MAX_OFFSET = 10
_MANY = 0.05
#: A picture of another size than the calibrated one differs at least by this factor.
_OTHER_SCALE = 1.02
#: Frames that are enough to compare explanations with one another.
_FRAMES = 200


def check_points(rig: Rig, xy_px: FloatArray) -> list[CalibrationFinding]:
    """Findings about a rig from points of one sequence, (n, V, K, 2) distorted pixels, NaN = no point.

    Consecutive frames (more than 20) also show a camera that started early or late.  An explanation (exchanged cameras, another
    picture size, a moved camera) is given as an error; errors of the cameras that suffer from it are then warnings only.
    """
    some = xy_px[:: -(-len(xy_px) // _FRAMES) or 1]
    reasons = [*_check_exchanged(rig, some)] or [*_check_scale(rig, some)]
    return [
        *_check_offsets(rig, xy_px),
        *_check_outside(rig, xy_px),
        *reasons,
        *_check_errors(rig, xy_px, explained=bool(reasons)),
        *_check_cheirality(rig, xy_px),
    ]


def _check_offsets(rig: Rig, xy_px: FloatArray) -> Iterator[CalibrationFinding]:
    if len(rig) < 2 or len(xy_px) <= 2 * _MAX_OFFSET:
        return
    found = frame_offsets(rig, xy_px, _MAX_OFFSET)
    for camera, offset, error in zip(rig.cameras, found.offset, found.error_px, strict=True):
        if offset:
            better, worse = error[offset + _MAX_OFFSET], error[_MAX_OFFSET]
            text = f"its frame i + ({offset}) fits frame i of the others: median error {better:.1f} px instead of {worse:.1f} px"
            yield CalibrationFinding("error" if better < SUSPECT_SHARE * worse else "warning", camera.name, text)


def _check_outside(rig: Rig, xy_px: FloatArray) -> Iterator[CalibrationFinding]:
    """Points that cannot be in the calibrated pictures: beside them, or where the lens model shows nothing."""
    inside = rig.inside(xy_px)
    for v, camera in enumerate(rig.cameras):
        points = xy_px[:, v][np.isfinite(xy_px[:, v]).all(axis=-1)]
        if not len(points):
            continue
        beside = 1 - inside[:, v].sum() / len(points)
        if beside > _MANY:
            width, height = camera.size_px
            text = f"{beside:.0%} of its points lie outside the calibrated picture of {width}×{height}: another size, or a crop?"
            yield CalibrationFinding("error", camera.name, text)
        impossible = np.isnan(camera.undistort(points)[:, 0]).mean()
        if impossible > _MANY:
            text = f"{impossible:.0%} of the points in its pictures cannot come from its lens model: too few points at the edges?"
            yield CalibrationFinding("error", camera.name, text)


def _check_exchanged(rig: Rig, xy_px: FloatArray) -> Iterator[CalibrationFinding]:
    """Two cameras whose names, or whose files of points, are exchanged."""
    if len(rig) < 2:
        return
    error = all_view_error(rig, xy_px)
    if not error > _limits(rig).min():
        return
    tried = {}
    for a, b in combinations(range(len(rig)), 2):
        order = list(range(len(rig)))
        order[a], order[b] = b, a
        tried[a, b] = all_view_error(rig, xy_px[:, order])
    known = {pair: value for pair, value in tried.items() if np.isfinite(value)}
    if not known:
        return
    a, b = min(known, key=known.__getitem__)
    if known[a, b] < SUSPECT_SHARE * error and known[a, b] < _limits(rig).max():
        text = f"median error {error:.1f} px as they are, {known[a, b]:.1f} px with the points of the two exchanged"
        names = f"{rig.names[a]!r} and {rig.names[b]!r}"
        yield CalibrationFinding("error", None, f"cameras {names} are exchanged: {text}; exchange their names or their files")


def _check_scale(rig: Rig, xy_px: FloatArray) -> Iterator[CalibrationFinding]:
    """A camera whose pictures were larger or smaller than the calibrated ones."""
    limits = _limits(rig)
    error = all_view_error(rig, xy_px)
    if len(rig) < 3 or not error > limits.min():
        return
    best: tuple[float, int, float] | None = None
    for v in range(len(rig)):
        others = [name for name in rig.names if name != rig.names[v]]
        xyz_world = triangulate_robust(rig.subset(others), np.delete(xy_px, v, axis=1)).xyz_world
        factor = _scale_of(rig.cameras[v].project(xyz_world), xy_px[:, v])
        if not (np.isfinite(factor) and max(factor, 1 / factor) > _OTHER_SCALE):
            continue
        resized = xy_px.copy()
        resized[:, v] = (xy_px[:, v] + 0.5) / factor - 0.5
        left = all_view_error(rig, resized)
        if best is None or left < best[0]:
            best = left, v, factor
    if best is not None and best[0] < SUSPECT_SHARE * error and best[0] < limits.max():
        left, v, factor = best
        width, height = rig.cameras[v].size_px
        text = f"its points are {factor:.3g} times as large as in the calibrated picture of {width}×{height}"
        text += f": median error {error:.1f} px as they are, {left:.1f} px scaled; calibrate at the size of the pictures"
        yield CalibrationFinding("error", rig.names[v], text)


def _scale_of(expected: FloatArray, seen: FloatArray) -> float:
    """Median factor from expected to seen pixels, both measured from the corner of the picture; NaN when it cannot be said."""
    both = np.isfinite(expected).all(axis=-1) & np.isfinite(seen).all(axis=-1)
    there, here = expected[both] + 0.5, seen[both] + 0.5
    length = (there * there).sum(axis=-1)
    usable = length > 0
    factors = (there * here).sum(axis=-1)[usable] / length[usable]
    factor = float(np.median(factors)) if factors.size else float("nan")
    return factor if factor > 0 else float("nan")


def _check_errors(rig: Rig, xy_px: FloatArray, explained: bool) -> Iterator[CalibrationFinding]:
    errors = camera_errors(rig, xy_px)
    suspect = suspect_camera(rig, xy_px) if len(rig) > 2 and not explained else None
    explained = explained or (suspect is not None and suspect.camera is not None)
    for camera, error, limit in zip(rig.cameras, errors, _limits(rig), strict=True):
        if suspect is not None and suspect.camera == camera.name and error > limit:
            without = suspect.without_px[rig.names.index(camera.name)]
            text = f"contradicts the others: median error {suspect.error_px:.1f} px with it, {without:.1f} px without it"
            yield CalibrationFinding("error", camera.name, text)
        elif error > limit:
            text = f"median reprojection error {error:.1f} px, expected below {limit:.1f} px"
            yield CalibrationFinding("warning" if explained else "error", camera.name, text)
        elif not np.isfinite(error):
            yield CalibrationFinding("warning", camera.name, "shares no points with the others: nothing can be said about it")


def _check_cheirality(rig: Rig, xy_px: FloatArray) -> Iterator[CalibrationFinding]:
    """Points that a camera has in its picture although they lie behind it."""
    xyz_world = triangulate_robust(rig, xy_px).xyz_world
    for v, camera in enumerate(rig.cameras):
        seen = np.isfinite(xy_px[:, v]).all(axis=-1) & np.isfinite(xyz_world).all(axis=-1)
        behind = camera.depth(xyz_world[seen]) <= 0
        if behind.size and behind.mean() > _MANY:
            text = f"{behind.mean():.0%} of the points in its pictures lie behind it: R or t is wrong, or inverted"
            yield CalibrationFinding("error", camera.name, text)


def _limits(rig: Rig) -> FloatArray:
    """(V,) median error in pixels up to which a camera is right."""
    return np.asarray(_GOOD_ERROR * np.linalg.norm(rig.size_px, axis=1))
