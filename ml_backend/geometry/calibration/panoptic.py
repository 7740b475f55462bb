"""CMU Panoptic ``calibration_*.json``: K, R world → camera, t in centimetres."""

from __future__ import annotations

import json
from pathlib import Path

from label_config.values import BadInputError
from ml_backend.geometry.calibration.base import Calibration, RawCamera, Sizes, Where, read_text
from ml_backend.geometry.calibration.settle import build

FORMAT = "panoptic"


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file.  Raises BadInputError."""
    try:
        document = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: expected JSON, got something else: {str(error)[:200]}") from None
    where = Where(path)
    entries = where.get(document, "cameras")
    if not isinstance(entries, list):
        raise where.fail("cameras", "a list", type(entries).__name__)
    cameras = []
    for position, entry in enumerate(entries):
        here = where.of(str(entry.get("name", position)) if isinstance(entry, dict) else str(position))
        K = here.numbers("K", here.get(entry, "K"), (3, 3))
        size = entry.get("resolution")
        cameras.append(
            RawCamera(
                name=str(here.camera),
                K=K,
                rotation=here.numbers("R", here.get(entry, "R"), (3, 3), (3,)),
                t=here.numbers("t", here.get(entry, "t"), (3,)),
                dist=here.numbers("distCoef", entry.get("distCoef", []), (-1,)),
                size_px=here.size("resolution", size) if size else None,
            )
        )
    return build(path, cameras, format=FORMAT, unit="cm", sizes_px=sizes_px)
