"""What all calibration readers share: reading safely and naming what is wrong.

A reader turns its file into :class:`RawCamera` values as stored and hands them to
:func:`~ml_backend.geometry.calibration.settle.build`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import BadInputError, FloatArray
from label_config.values.errors import CalibrationError
from ml_backend.geometry.cameras import Model, Rig

#: Calibrations are small; anything larger is not one (and would be a way to exhaust memory).
MAX_TEXT_BYTES = 1_000_000
_LARGEST = 1e12
#: World units per metre.
UNITS = {"m": 1.0, "cm": 100.0, "mm": 1000.0}

#: A principal point farther from the middle, as a share of the side, is that of a cropped picture or of another size …
OFF_CENTRE = 0.25
#: … and one that is nearer by this to the middle of the picture with width and height exchanged is that of this picture.
SWAPPED = 0.08
#: Cameras of one rig are at least and at most this far apart, in metres.
SMALLEST_M, LARGEST_M = 0.02, 100.0

Sizes = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Calibration:
    """A rig, the format it was read from, and in words every convention that was detected or assumed.

    guessed_sizes  cameras whose picture size is not in the file; theirs is twice the principal point, until somebody knows
    unit_stated    the file or the user says the rig's unit; otherwise it is the format's, or assumed
    """

    rig: Rig
    format: str
    notes: tuple[str, ...] = ()
    guessed_sizes: frozenset[str] = frozenset()
    unit_stated: bool = False


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
        if array.ndim > 4:
            raise self.fail(key, "numbers", f"{array.ndim} nested lists of them")
        if not (np.abs(array) <= _LARGEST).all():
            raise self.fail(key, f"finite numbers up to {_LARGEST:.0e}", _short(value), "calibrate this camera again")
        for shape in shapes:
            if shape == (-1,) or array.size == np.prod(shape) or (shape == (-1, 2) and array.size and array.size % 2 == 0):
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
        raise CalibrationError(f"{path}: expected text in UTF-8, got other bytes at position {error.start}") from None


def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a file of at most ``limit``.  Raises BadInputError when it is missing or larger."""
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{path}: cannot be read: {error}") from None
    if len(raw) > limit:
        raise CalibrationError(f"{path}: expected a calibration of at most {limit:,} bytes, got a larger file")
    return raw


def convert_unit(rig: Rig, unit: str) -> Rig:
    """The same rig with the world measured in another of m, cm, mm.  Raises BadInputError for other units."""
    for name in (rig.unit, unit):
        if name not in UNITS:
            raise CalibrationError(f"unit: expected one of {', '.join(UNITS)}, got {name!r}")
    factor = UNITS[unit] / UNITS[rig.unit]
    return Rig(tuple(replace(camera, t_cam_world=camera.t_cam_world * factor) for camera in rig.cameras), unit)


def with_unit(calibration: Calibration, unit: str, where: Where) -> Calibration:
    """The calibration in the unit that the user says its numbers have.  Raises BadInputError when the file says another."""
    if unit not in UNITS:
        raise where.fail("unit", f"one of {', '.join(UNITS)}", repr(unit))
    rig = calibration.rig
    if calibration.unit_stated and rig.unit != unit:
        raise where.fail("unit", f"{unit}, as given", f"{rig.unit} in the file", "correct one of the two")
    kept = tuple(note for note in calibration.notes if not note.startswith("unit:"))
    return replace(calibration, rig=Rig(rig.cameras, unit), notes=(*kept, f"unit: {unit}, as given"), unit_stated=True)


def off_centre(centre: FloatArray, size_px: tuple[int, int]) -> float:
    """The principal point's distance from the middle along the worse side, as a share of the side."""
    return float(np.abs((centre + 0.5) / size_px - 0.5).max())


def same_unit(rigs: Sequence[Rig]) -> list[Rig]:
    """The rigs in the unit of the first.  Raises BadInputError for a unit that cannot be converted."""
    return [rig if rig.unit == rigs[0].unit else convert_unit(rig, rigs[0].unit) for rig in rigs]


def spread(rig: Rig) -> float:
    """Largest distance between two cameras' centres, world units."""
    centres = np.stack([camera.centre for camera in rig.cameras])
    return float(np.linalg.norm(centres[:, None] - centres[None], axis=-1).max())


def fits_unit(apart: float, unit: str) -> bool:
    """Nobody films one subject from 100 m, or with cameras 2 cm apart; 0 (one camera) fits every unit."""
    return apart == 0 or unit not in UNITS or SMALLEST_M <= apart / UNITS[unit] <= LARGEST_M


def implausible(rig: Rig) -> str:
    """Why the rig's unit cannot be right, or nothing."""
    apart = spread(rig)
    if fits_unit(apart, rig.unit):
        return ""
    return f"cameras are up to {apart:.4g} {rig.unit} apart: another unit? say which with --unit, or 'unit' in parallax.yaml"


def _short(value: Any) -> str:
    text = str(value)[:80]
    return text if isinstance(value, int | float) else f"{type(value).__name__} {text!r}"
