"""The camera of a view whose picture is cut out of another, turned or mirrored."""

from __future__ import annotations

from typing import Literal

from label_config.values import BadInputError
from ml_backend.geometry.cameras import Camera
from ml_backend.recordings import ViewTransform, reconcile_size

CalibratedOn = Literal["source", "view"]


def camera_of_view(
    camera: Camera, transform: ViewTransform, source_size_px: tuple[int, int], calibrated_on: CalibratedOn | None
) -> tuple[Camera, list[str]]:
    """The camera of the view's pictures, and what was assumed.

    camera         as calibrated, with the size of the pictures that it was calibrated on
    calibrated_on  whether these are the source's pictures or the view's; None: as their size says
    Raises BadInputError where the sizes do not fit, and for a mirrored view without a statement.
    """
    notes: list[str] = []
    if calibrated_on is None:
        calibrated_on = _by_size(camera, transform, source_size_px, notes)
    if calibrated_on == "source" and transform.flip:
        raise BadInputError(
            f"view {camera.name!r}: no camera takes mirrored pictures, so the calibration cannot be that of the source. "
            "Calibrate the mirrored pictures and say 'calibrated_on: view', or take out 'flip'"
        )
    fix = reconcile_size(camera.name, source_size_px if calibrated_on == "source" else transform.size_px, camera.size_px)
    if fix.warning:
        notes.append(f"warning: {fix.warning}")
    fitted = camera.cropped(0, 0, *fix.keep_px).resized(fix.size_px)
    if calibrated_on == "view":
        return fitted, notes
    return fitted.cropped(*transform.part).rotated(transform.quarter_turns), notes


def _by_size(camera: Camera, transform: ViewTransform, source_size_px: tuple[int, int], notes: list[str]) -> CalibratedOn:
    if transform.flip:
        raise BadInputError(
            f"view {camera.name!r} is mirrored: say which pictures were calibrated: 'calibrated_on: view' "
            "(those after crop, rotation and flip) or 'calibrated_on: source'"
        )
    changed = transform.part != (0, 0, *source_size_px) or transform.quarter_turns
    if camera.size_px == source_size_px or camera.size_px != transform.size_px:
        if changed:
            notes.append(f"view {camera.name!r}: the calibration is taken as that of the source picture and transformed with it")
        return "source"
    notes.append(f"view {camera.name!r}: the calibration is taken as that of the picture after crop and rotation, by its size")
    return "view"
