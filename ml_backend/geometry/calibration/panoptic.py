"""CMU Panoptic ``calibration_*.json``: K, R world → camera, t in centimetres."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from label_config.values.errors import CalibrationError
from ml_backend.geometry.calibration.lenses import refuse_unknown
from ml_backend.geometry.calibration.safe_reading import Calibration, RawCamera, Sizes, Where, read_text
from ml_backend.geometry.calibration.settle import build

FORMAT = "panoptic"


def parse(path: Path, text: str) -> Any:
    """JSON text → value.  Raises BadInputError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"{path}: expected JSON, got something else: {str(error)[:200]}") from None


def recognises(document: object) -> bool:
    """True for an object with a list ``cameras`` of objects that have K, R and t."""
    cameras = document.get("cameras") if isinstance(document, dict) else None
    return isinstance(cameras, list) and any(isinstance(entry, dict) and {"K", "R", "t"} & entry.keys() for entry in cameras)


def read(path: Path, sizes_px: Sizes | None = None) -> Calibration:
    """Read the file.  Raises BadInputError."""
    document = parse(path, read_text(path))
    where = Where(path)
    entries = where.get(document, "cameras")
    if not isinstance(entries, list):
        raise where.fail("cameras", "a list", type(entries).__name__)
    cameras = []
    for position, entry in enumerate(entries):
        here = where.of(str(entry.get("name", position)) if isinstance(entry, dict) else str(position))
        if isinstance(entry, dict):
            refuse_unknown(here, entry, ("distCoef",))
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
