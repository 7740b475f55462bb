"""What all calibration readers share: reading safely, naming what is wrong, and settling conventions.

A reader turns its file into :class:`RawCamera` values as stored; :func:`build` decides whether matrices are transposed,
repairs rounding, fills in missing picture sizes, says so in the notes, and lets :class:`Camera` validate the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from label_config.values import BadInputError, FloatArray
from ml_backend.geometry.calibration.convergence import stored_transposed
from ml_backend.geometry.cameras import Camera, Model, Rig

#: Calibrations are small; anything larger is not one (and would be a way to exhaust memory).
MAX_TEXT_BYTES = 1_000_000
#: R·Rᵀ may differ from the identity this much when a file was written with few digits.
ROUNDING_TOLERANCE = 1e-2
_EXACT = 1e-7
_LARGEST = 1e12
_LENGTHS = {"pinhole": (0, 4, 5, 8, 12, 14), "fisheye": (0, 4)}
#: World units per metre.
UNITS = {"m": 1.0, "cm": 100.0, "mm": 1000.0}

Sizes = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Calibration:
    """A rig, the format it was read from, and in words every convention that was detected or assumed."""

    rig: Rig
    format: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Where:
    """A place in a file, for messages."""

    file: Path
    camera: str | None = None

    def fail(self, key: str, expected: str, got: str, fix: str = "") -> BadInputError:
        """The error that says where, what was expected, what is there and how to fix it."""
        place = f"{self.file}: camera {self.camera!r}" if self.camera is not None else str(self.file)
        return BadInputError(f"{place}: {key}: expected {expected}, got {got}" + (f"; {fix}" if fix else ""))

    def of(self, camera: str) -> Where:
        """The same file, at one camera."""
        return replace(self, camera=camera)

    def get(self, table: Mapping[str, Any], key: str) -> Any:
        """``table[key]``, or the error that lists the keys that are there."""
        if not isinstance(table, Mapping):
            raise self.fail(key, "a table of named values", _short(table))
        if key not in table:
            raise self.fail(
                key, "this key", f"only {', '.join(map(str, list(table)[:20])) or 'an empty table'}", "add it to the file"
            )
        return table[key]

    def numbers(self, key: str, value: Any, *shapes: tuple[int, ...]) -> FloatArray:
        """``value`` as a finite float64 array of the first of ``shapes`` with as many elements; -1 = any length."""
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError, RecursionError):
            raise self.fail(key, "numbers", _short(value)) from None
        if not (np.abs(array) <= _LARGEST).all():
            raise self.fail(key, f"finite numbers up to {_LARGEST:.0e}", _short(value), "calibrate this camera again")
        for shape in shapes:
            if shape == (-1,) or array.size == np.prod(shape):
                return array.reshape(shape)
        wanted = " or ".join(str(shape) for shape in shapes)
        raise self.fail(key, f"numbers of shape {wanted}", f"shape {array.shape}: {_short(value)}")

    def size(self, key: str, value: Any) -> tuple[int, int]:
        """``value`` as (width, height)."""
        width, height = self.numbers(key, value, (2,))
        if width != round(width) or height != round(height) or min(width, height) <= 0:
            raise self.fail(key, "positive whole width and height", _short(value))
        return int(width), int(height)


@dataclass(frozen=True)
class RawCamera:
    """One camera with its numbers as the file has them.

    K         (3, 3), possibly transposed
    rotation  (3,) rotation vector or (3, 3) matrix, possibly transposed; world → camera
    t         (3,) world → camera
    dist      lens coefficients in OpenCV's order, any length
    size_px   (width, height), None = not in the file
    """

    name: str
    K: FloatArray
    rotation: FloatArray
    t: FloatArray
    dist: FloatArray = field(default_factory=lambda: np.zeros(0))
    size_px: tuple[int, int] | None = None
    model: Model = "pinhole"


def read_text(path: Path) -> str:
    """The text of a small UTF-8 file.  Raises BadInputError when it is missing, too large or not text."""
    raw = read_bytes(path, MAX_TEXT_BYTES)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: expected text in UTF-8, got other bytes at position {error.start}") from None


def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a file of at most ``limit``.  Raises BadInputError when it is missing or larger."""
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: cannot be read: {error}") from None
    if len(raw) > limit:
        raise BadInputError(f"{path}: expected a calibration of at most {limit:,} bytes, got a larger file")
    return raw


def build(
    file: Path,
    cameras: Sequence[RawCamera],
    *,
    format: str,
    unit: str,
    notes: Sequence[str] = (),
    row_vectors: bool = False,
    sizes_px: Sizes | None = None,
) -> Calibration:
    """Raw cameras → calibration.

    row_vectors  the format stores matrices transposed, for points as row vectors
    sizes_px     picture sizes that the file lacks or has wrong, by camera name
    """
    where = Where(file)
    if not cameras:
        raise where.fail("cameras", "at least one calibrated camera", "none")
    found = list(notes)
    intrinsics, transposed = _settle_intrinsics(where, cameras, row_vectors, found)
    rotations = _settle_rotations(where, cameras, transposed, found)
    sizes = _settle_sizes(cameras, intrinsics, sizes_px or {}, found)
    lenses = [_padded(where.of(camera.name), camera) for camera in cameras]
    try:
        settled = [
            Camera(camera.name, K, R, camera.t, dist, camera.model, size)
            for camera, K, R, dist, size in zip(cameras, intrinsics, rotations, lenses, sizes, strict=True)
        ]
        return Calibration(Rig(tuple(settled), unit), format, tuple(found))
    except BadInputError as error:
        raise BadInputError(f"{file}: {error}") from None


def convert_unit(rig: Rig, unit: str) -> Rig:
    """The same rig with the world measured in another of m, cm, mm.  Raises BadInputError for other units."""
    for name in (rig.unit, unit):
        if name not in UNITS:
            raise BadInputError(f"unit: expected one of {', '.join(UNITS)}, got {name!r}")
    factor = UNITS[unit] / UNITS[rig.unit]
    return Rig(tuple(replace(camera, t_cam_world=camera.t_cam_world * factor) for camera in rig.cameras), unit)


def spread(rig: Rig) -> float:
    """Largest distance between two cameras' centres, world units."""
    centres = np.stack([camera.centre for camera in rig.cameras])
    return float(np.linalg.norm(centres[:, None] - centres[None], axis=-1).max())


def _settle_intrinsics(
    where: Where, cameras: Sequence[RawCamera], row_vectors: bool, notes: list[str]
) -> tuple[list[FloatArray], bool]:
    """Every K upright, and whether the file stores matrices transposed as its Ks show it (by majority)."""
    upright = [_upright(where.of(camera.name), camera.K) for camera in cameras]
    names = {
        told: [camera.name for camera, (_, turned) in zip(cameras, upright, strict=True) if turned is told]
        for told in (True, False)
    }
    if names[True]:
        notes.append(f"{_cameras(names[True], cameras)}: K stored transposed: transposed")
    if names[False] and row_vectors:
        notes.append(f"{_cameras(names[False], cameras)}: K stored upright, unlike the format: kept")
    yes, no = len(names[True]), len(names[False])
    return [K for K, _ in upright], row_vectors if yes == no else yes > no


def _settle_rotations(where: Where, cameras: Sequence[RawCamera], transposed: bool, notes: list[str]) -> list[FloatArray]:
    """Every rotation as a matrix world → camera.  Matrices follow the Ks unless only the other reading lets cameras converge."""
    is_matrix = [camera.rotation.shape == (3, 3) for camera in cameras]
    stored = [camera.rotation if whole else _matrix(camera.rotation) for camera, whole in zip(cameras, is_matrix, strict=True)]
    if any(is_matrix):
        decided = stored_transposed(stored, [camera.t for camera in cameras], is_matrix)
        if decided is not None and decided != transposed:
            notes.append("R: read the other way round than K, because only so do the cameras look at a common point")
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
) -> list[tuple[int, int]]:
    """Given sizes first, then the file's, else twice the principal point."""
    sizes, guessed = [], []
    for camera, K in zip(cameras, intrinsics, strict=True):
        size = sizes_px.get(camera.name, camera.size_px)
        if size is None:
            size = (max(1, round(2 * K[0, 2] + 1)), max(1, round(2 * K[1, 2] + 1)))
            guessed.append(f"{camera.name} {size[0]}×{size[1]}")
        sizes.append((int(size[0]), int(size[1])))
    if guessed:
        notes.append(f"no picture size in the file, assumed from the principal point: {', '.join(guessed)}; pass sizes_px")
    return sizes


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


def _short(value: Any) -> str:
    text = str(value)[:80]
    return text if isinstance(value, int | float) else f"{type(value).__name__} {text!r}"
