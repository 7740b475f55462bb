"""Frames in which people labelled more subjects than a project learns: these are left out, and it is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from label_config.values import PointState
from ml_backend.store.submissions import AnnotationRow

#: What a person reads about such frames, wherever they are mentioned.
FIX = (
    "the frame is not trained on or measured with, and no frame of the project is pseudo-labelled. Keep the points of one "
    "subject, the same in all cameras; or set subjects.max in parallax.yaml, with boxes of all subjects in the data of the tasks"
)


def expected(most: int) -> str:
    """What a frame may hold."""
    return f"expected points of {'one subject' if most == 1 else f'at most {most} subjects'} in a frame"


def labelled_subjects(poses: Mapping[str, Mapping[str, Any]] | Mapping[int, Mapping[str, Any]]) -> int:
    """Subjects with a point that is placed; ``poses`` is {subject: Pose2D as JSON}."""
    placed = {int(PointState.VISIBLE), int(PointState.OCCLUDED)}
    return sum(any(not placed.isdisjoint(of_view) for of_view in pose["state"]) for pose in poses.values())


def frames_of_several(annotations: Iterable[AnnotationRow], most: int) -> dict[int, int]:
    """Frame id → the most subjects that one annotation places, for frames in which it is more than ``most``."""
    counts: dict[int, int] = {}
    for row in annotations:
        counts[row.frame_id] = max(counts.get(row.frame_id, 0), labelled_subjects(row.poses))
    return {frame_id: count for frame_id, count in counts.items() if count > most}
