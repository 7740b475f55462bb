"""Raw numbers → a validated rig: is anything transposed, rounded, of the wrong length or missing?

Every decision is written into the notes; :class:`~ml_backend.geometry.cameras.Camera` validates what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from label_config.values import BadInputError, FloatArray
from label_config.values.errors import CalibrationError
from ml_backend.geometry.calibration.convergence import stored_transposed
from ml_backend.geometry.calibration.safe_reading import Calibration, RawCamera, Sizes, Where, fits_unit, spread
from ml_backend.geometry.cameras import Camera, Rig

#: R·Rᵀ may differ from the identity this much when a file was written with few digits.
ROUNDING_TOLERANCE = 1e-2
_EXACT = 1e-7
_ZERO = 1e-9
#: Twice what the largest known rig has (CMU Panoptic, 521); reading more would hold everything up.
MOST_CAMERAS = 1000
UnitFrom = Literal["file", "format", "assumed"]
_LENGTHS = {"pinhole": (0, 4, 5, 8, 12, 14), "fisheye": (0, 4)}


def build(
    file: Path,
    cameras: Sequence[RawCamera],
    *,
    format: str,
    unit: str,
    unit_from: UnitFrom = "format",
    notes: Sequence[str] = (),
    row_vectors: bool = False,
    defined: bool = False,
    sizes_px: Sizes | None = None,
) -> Calibration:
    """Raw cameras → calibration.

    unit_from    who says the unit: the "file", the "format" by its definition, or nobody ("assumed")
    row_vectors  the format stores matrices transposed, for points as row vectors
    defined      the format defines its rotations: they are not turned, wherever the cameras point
    sizes_px     picture sizes that the file lacks or has wrong, by camera name
    """
    where = Where(file)
    if not cameras:
        raise where.fail("cameras", "at least one calibrated camera", "none")
    if len(cameras) > MOST_CAMERAS:
        raise where.fail("cameras", f"at most {MOST_CAMERAS:,} cameras", f"{len(cameras):,}")
    found = list(notes)
    intrinsics, transposed = _settle_intrinsics(where, cameras, row_vectors, found)
    rotations = _settle_rotations(where, cameras, None if defined else transposed, found)
    sizes, guessed = _settle_sizes(cameras, intrinsics, sizes_px or {}, found)
    lenses = [_padded(where.of(camera.name), camera) for camera in cameras]
    try:
        settled = [
            Camera(camera.name, K, R, camera.t, dist, camera.model, size)
            for camera, K, R, dist, size in zip(cameras, intrinsics, rotations, lenses, sizes, strict=True)
        ]
        rig = _settle_unit(Rig(tuple(settled), unit), unit_from, found)
        return Calibration(rig, format, tuple(found), guessed, unit_from == "file")
    except BadInputError as error:
        raise CalibrationError(f"{file}: {error}") from None


def _settle_intrinsics(
    where: Where, cameras: Sequence[RawCamera], row_vectors: bool, notes: list[str]
) -> tuple[list[FloatArray], bool]:
    """Every K upright, and whether the file stores matrices transposed as its Ks show it (by majority)."""
    upright = [_upright(where.of(camera.name), camera.K) for camera in cameras]
    names = {
        is_transposed: [camera.name for camera, (_, turned) in zip(cameras, upright, strict=True) if turned is is_transposed]
        for is_transposed in (True, False)
    }
    if names[True]:
        notes.append(f"{_cameras(names[True], cameras)}: K stored transposed: transposed")
    if names[False] and row_vectors:
        notes.append(f"{_cameras(names[False], cameras)}: K stored upright, unlike the format: kept")
    yes, no = len(names[True]), len(names[False])
    return [K for K, _ in upright], row_vectors if yes == no else yes > no


def _upright(where: Where, stored: FloatArray) -> tuple[FloatArray, bool | None]:
    """K with last row [0, 0, 1], and whether it was stored transposed (None = cannot tell)."""
    row, column = np.abs(stored[2, :2]).max() < _ZERO, np.abs(stored[:2, 2]).max() < _ZERO
    if not row and not column:
        raise where.fail("K", "a last row of [0, 0, 1]", f"{stored.tolist()}", "check that this is the intrinsic matrix")
    K = stored if row else stored.T
    if not 1e-6 < K[2, 2] < 1e6:
        raise where.fail("K", "K[2][2] = 1", f"{K[2, 2]}")
    return np.vstack((K[:2] / K[2, 2], [0, 0, 1])), None if row and column else not row


def _settle_rotations(where: Where, cameras: Sequence[RawCamera], transposed: bool | None, notes: list[str]) -> list[FloatArray]:
    """Every rotation as a matrix world → camera.  Matrices follow the Ks unless only the other reading lets cameras converge.

    transposed  whether the Ks are stored so; None = rotations are as they should be
    """
    is_matrix = [camera.rotation.shape == (3, 3) for camera in cameras]
    stored = [camera.rotation if whole else _matrix(camera.rotation) for camera, whole in zip(cameras, is_matrix, strict=True)]
    if any(is_matrix) and transposed is not None:
        decided = stored_transposed(stored, [camera.t for camera in cameras], is_matrix)
        if decided is None:
            notes.append("R: whether it is transposed cannot be seen from the cameras' directions, taken as K's")
        elif decided != transposed:
            notes.append("R: read the other way round than K, because only so do the cameras face a common point")
            transposed = decided
        notes.append("R stored transposed: transposed" if transposed else "R stored as world → camera: kept")
    turned = [R.T if whole and transposed else R for R, whole in zip(stored, is_matrix, strict=True)]
    errors = [float(np.abs(R @ R.T - np.eye(3)).max()) for R in turned]
    for camera, error in zip(cameras, errors, strict=True):
        if error > ROUNDING_TOLERANCE:
            off = f"R·Rᵀ off the identity by {error:.2g}"
            raise where.of(camera.name).fail("rotation", "an orthonormal 3×3 matrix", off, "export the calibration again")
    rounded = [camera.name for camera, error in zip(cameras, errors, strict=True) if error > _EXACT]
    if rounded:
        notes.append(f"{_cameras(rounded, cameras)}: R rounded in the file (off by {max(errors):.1g}): nearest rotation used")
    return [_nearest_rotation(R) if error > _EXACT else R for R, error in zip(turned, errors, strict=True)]


def _matrix(rotation_vector: FloatArray) -> FloatArray:
    return np.asarray(Rotation.from_rotvec(rotation_vector).as_matrix(), dtype=np.float64)


def _nearest_rotation(R: FloatArray) -> FloatArray:
    """Nearest orthonormal matrix; the sign of the determinant is kept, so that a mirror image is still found out."""
    left, _, right = np.linalg.svd(R)
    return np.asarray(left @ right)


def _settle_sizes(
    cameras: Sequence[RawCamera], intrinsics: Sequence[FloatArray], sizes_px: Sizes, notes: list[str]
) -> tuple[list[tuple[int, int]], frozenset[str]]:
    """Given sizes first, then the file's, else twice the principal point; and the cameras whose size is such a guess."""
    sizes, guessed = [], {}
    for camera, K in zip(cameras, intrinsics, strict=True):
        size = sizes_px.get(camera.name, camera.size_px)
        if size is None:
            size = (max(1, round(2 * K[0, 2] + 1)), max(1, round(2 * K[1, 2] + 1)))
            guessed[camera.name] = f"{camera.name} {size[0]}×{size[1]}"
        sizes.append((int(size[0]), int(size[1])))
    if guessed:
        listed = ", ".join(guessed.values())
        notes.append(f"no picture size in the file, assumed from the principal point until the pictures are known: {listed}")
    return sizes, frozenset(guessed)


def _settle_unit(rig: Rig, unit_from: UnitFrom, notes: list[str]) -> Rig:
    """The unit of the file or format, unless the rig would be impossibly small or large and another unit fits."""
    if unit_from == "file":
        return rig
    apart = spread(rig)
    fitting = [unit for unit in (rig.unit, "m", "mm", "cm") if fits_unit(apart, unit)]
    unit = fitting[0] if fitting else rig.unit
    if unit_from == "assumed":
        notes.append(f"unit: not in the file, {unit} assumed (cameras are up to {apart:.4g} apart); say it with 'unit'")
    elif unit != rig.unit:
        notes.append(f"unit: {unit}, not the format's {rig.unit}: cameras are {apart:.4g} apart; say it with 'unit'")
    return Rig(rig.cameras, unit)


def _padded(where: Where, camera: RawCamera) -> FloatArray:
    """Coefficients brought to a length that the lens model has, by dropping or adding zeros at the end."""
    lengths = _LENGTHS[camera.model]
    if camera.dist.size in lengths:
        return camera.dist
    dist = np.trim_zeros(camera.dist, "b")
    fitting = [length for length in lengths if length >= dist.size]
    if not fitting:
        raise where.fail("dist", f"at most {lengths[-1]} coefficients of a {camera.model} lens", f"{dist.size}")
    return np.pad(dist, (0, fitting[0] - dist.size))


def _cameras(names: Sequence[str], all_cameras: Sequence[RawCamera]) -> str:
    return "all cameras" if len(names) == len(all_cameras) else f"camera {', '.join(map(repr, names))}"
