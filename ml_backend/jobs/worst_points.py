"""What stands out most in a scored frame, score by score: the subject, and its point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.acquisition.reasons import worst_point
from ml_backend.acquisition.score_record import PointDetail
from ml_backend.project.subject_rows import LEAST_SURE, OF_SUBJECTS, STRONGEST

Arrays = Mapping[str, npt.NDArray[Any]]


def worst_points(arrays: Arrays, row: int, views: Sequence[str], keypoints: Sequence[str]) -> dict[str, PointDetail | None]:
    """Score → the point that stands out in this row of ``arrays``, for the scores that have points."""
    found: dict[str, PointDetail | None] = {}
    for name, array in arrays.items():
        kind, _, score = name.partition(".")
        if kind == "point":
            whose = int(arrays.get(STRONGEST + score, arrays[LEAST_SURE])[row]) if LEAST_SURE in arrays else None
            found[score] = worst_point(
                np.asarray(array[row], dtype=np.float64),
                views,
                keypoints,
                residual_px=_of_subject(arrays, "reprojection_px", row, whose),
                inlier=_of_subject(arrays, "inlier", row, whose),
            )
    return found


def subjects_that_stand_out(arrays: Arrays, row: int) -> dict[str, int]:
    """Score → the subject for which it is highest; empty unless the frame shows several subjects."""
    if LEAST_SURE not in arrays:
        return {}
    present = np.isfinite(arrays[OF_SUBJECTS + "confidence"][row]).any(axis=(1, 2))
    if present.sum() < 2:
        return {}
    whose = {name.removeprefix(STRONGEST): int(array[row]) for name, array in arrays.items() if name.startswith(STRONGEST)}
    return {score: subject for score, subject in whose.items() if subject >= 0}


def _of_subject(arrays: Arrays, name: str, row: int, subject: int | None) -> npt.NDArray[Any] | None:
    """The array of the subject that is meant; None without a rig."""
    if name not in arrays:
        return None
    found: npt.NDArray[Any] = arrays[name][row] if subject is None or subject < 0 else arrays[OF_SUBJECTS + name][row, subject]
    return found
