"""Calibrations of many tools, read into one :class:`~ml_backend.geometry.cameras.Rig`; one module per format.

    calibration = read_calibration("calibration.toml")
    rig = match_views(calibration.rig, ["left", "right", "top"])

Nothing is unpickled, expanded or executed; whatever is wrong with a file is a BadInputError that names file, camera and key.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from label_config.values.errors import CalibrationError
from ml_backend.geometry.calibration import anipose, opencv, pose2sim
from ml_backend.geometry.calibration.detect import FORMATS, detect_format, locate
from ml_backend.geometry.calibration.rig_views import match_views, rig_of_views
from ml_backend.geometry.calibration.safe_reading import Calibration, Sizes, Where, convert_unit, same_unit, with_unit
from ml_backend.geometry.cameras import Rig

__all__ = [
    "READERS",
    "WRITERS",
    "Calibration",
    "convert_unit",
    "detect_format",
    "match_views",
    "read_calibration",
    "rig_of_views",
    "same_unit",
    "write_calibration",
]

_F = TypeVar("_F")
#: Format name → reader.
READERS: dict[str, Callable[[Path, Sizes | None], Calibration]] = {module.FORMAT: module.read for module in FORMATS}
#: Format name → writer, for the formats that are alive.
WRITERS: dict[str, Callable[[Rig, Path], None]] = {module.FORMAT: module.write for module in (anipose, opencv, pose2sim)}


def read_calibration(
    path: str | Path, format: str | None = None, *, unit: str | None = None, sizes_px: Sizes | None = None
) -> Calibration:
    """Read a calibration file or folder.

    format    one of ``READERS``; None = seen by content
    unit      m, cm or mm: the file's numbers are in it; None = what the file or format says
    sizes_px  (width, height) by camera name, for files that lack picture sizes or have them wrong

    The notes of the result say every convention that was detected or assumed.
    Raises BadInputError naming file, camera, key, what was expected and what is there.
    """
    path = Path(path)
    try:
        exists = path.exists()
    except (OSError, ValueError):
        exists = False
    if not exists:
        raise CalibrationError(f"{path}: expected a calibration file or folder, found nothing there")
    where, name = locate(path) if format is None else (path, format)
    try:
        calibration = _choose(READERS, name, "read")(where, sizes_px)
    except (OverflowError, RecursionError, MemoryError) as error:
        raise CalibrationError(f"{path}: cannot be read as {name}: {type(error).__name__}: {str(error)[:200]}") from None
    return calibration if unit is None else with_unit(calibration, unit, Where(path))


def write_calibration(rig: Rig, path: str | Path, format: str) -> None:
    """Write a rig as one of ``WRITERS``; reading it back gives the same numbers.  Raises BadInputError for other formats."""
    _choose(WRITERS, format, "write")(rig, Path(path))


def _choose(known: dict[str, _F], name: str, verb: str) -> _F:
    if name not in known:
        raise CalibrationError(f"calibration format: can {verb} {', '.join(known)}; got {name!r}")
    return known[name]
