"""Which camera of a calibration is which view of a project."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from label_config.values import FloatArray
from label_config.values.errors import CalibrationError
from ml_backend.geometry.calibration.safe_reading import OFF_CENTRE, SWAPPED, Calibration, off_centre
from ml_backend.geometry.cameras import Rig

#: Ever looser readings of a name; the first under which every view has exactly one camera is used.
_READINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: name.casefold(),
    lambda name: PurePath(name.replace("\\", "/")).stem.casefold(),
    lambda name: "".join(filter(str.isalnum, PurePath(name.replace("\\", "/")).stem.casefold())),
)


def match_views(rig: Rig, views: Sequence[str]) -> Rig:
    """The rig of the project's views, in their order and under their names.

    Names are compared exactly, then without regard to case, then without folder and extension, then by letters and digits
    alone.  Cameras that no view needs are left out.  Raises BadInputError listing both sides when a view has no camera.
    """
    positions = _positions(rig, views)
    return Rig(tuple(replace(rig.cameras[at], name=view) for at, view in zip(positions, views, strict=True)), rig.unit)


def rig_of_views(
    calibration: Calibration, views: Sequence[str], source_px: Mapping[str, tuple[int, int]]
) -> tuple[Rig, list[str]]:
    """:func:`match_views`, with picture sizes that the file lacks, or has as height and width, taken from the source; and notes.

    source_px  view → (width, height) of the source's pictures, before crop and rotation
    Raises BadInputError where the principal point says that the calibration is not of pictures of that size.
    """
    notes, cameras = [], []
    for at, view in zip(_positions(calibration.rig, views), views, strict=True):
        camera, source = replace(calibration.rig.cameras[at], name=view), source_px.get(view)
        centre = camera.K[:2, 2]
        if source is not None and calibration.rig.cameras[at].name in calibration.guessed_sizes:
            if off_centre(centre, source) > OFF_CENTRE:
                raise CalibrationError(
                    f"view {view!r}: the calibration has no picture size, and its principal point {centre.round(1).tolist()} "
                    f"does not fit pictures of {source[0]} × {source[1]}; calibrate pictures of this size"
                )
            camera = replace(camera, size_px=source)
            notes.append(f"view {view!r}: picture size {source[0]} × {source[1]} taken from the source")
        elif source is not None and camera.size_px == source[::-1] and _exchanged(centre, camera.size_px):
            camera = replace(camera, size_px=source)
            notes.append(f"view {view!r}: width and height are exchanged in the calibration, as the principal point shows")
        cameras.append(camera)
    return Rig(tuple(cameras), calibration.rig.unit), notes


def _exchanged(centre: FloatArray, size_px: tuple[int, int]) -> bool:
    return off_centre(centre, size_px[::-1]) < off_centre(centre, size_px) - SWAPPED


def _positions(rig: Rig, views: Sequence[str]) -> list[int]:
    """Which camera each view has."""
    for reading in _READINGS:
        by_name: dict[str, list[int]] = {}
        for position, name in enumerate(rig.names):
            by_name.setdefault(reading(name), []).append(position)
        found = [by_name.get(reading(view), []) for view in views]
        chosen = [positions[0] for positions in found if len(positions) == 1]
        if len(chosen) == len(views) and len(set(chosen)) == len(views):
            return chosen
    raise CalibrationError(
        f"calibration and views: expected one camera for each of the views {', '.join(views) or '(none)'}, "
        f"got the cameras {', '.join(rig.names)}; rename the cameras in the calibration or the views in parallax.yaml"
    )
