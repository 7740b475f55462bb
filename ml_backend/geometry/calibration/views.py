"""Which camera of a calibration is which view of a project."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePath

from label_config.values import BadInputError
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
    for reading in _READINGS:
        by_name: dict[str, list[int]] = {}
        for position, name in enumerate(rig.names):
            by_name.setdefault(reading(name), []).append(position)
        found = [by_name.get(reading(view), []) for view in views]
        chosen = [positions[0] for positions in found if len(positions) == 1]
        if len(chosen) == len(views) and len(set(chosen)) == len(views):
            cameras = (replace(rig.cameras[position], name=view) for position, view in zip(chosen, views, strict=True))
            return Rig(tuple(cameras), rig.unit)
    raise BadInputError(
        f"calibration and views: expected one camera for each of the views {', '.join(views) or '(none)'}, "
        f"got the cameras {', '.join(rig.names)}; rename the cameras in the calibration or the views in parallax.yaml"
    )
