"""Labels of MPII Human Pose (``mpii_human_pose_v1_u12_1.mat``) and of Leeds Sports Pose and its extension (``joints.mat``).

MATLAB counts pixels from 1: all coordinates are reduced by 1.  Of Leeds Sports Pose the third number says *occluded*, of its
extension *visible*, and there an invisible point has no place.  Pictures are named as the archives name them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from label_config.settings.skeleton_files import load_skeleton
from label_config.values import FloatArray, ImageRef, IntArray, PointState
from label_config.values.errors import LabelFileError
from ml_backend.child_processes.limited_child import read_limited
from ml_backend.formats.label_records import LabelledImage, LabelSet

_READER = "ml_backend.child_processes.mat_labels:read"
_ONE_BASED = "pixels are counted from 0 here, from 1 in the file"


def read_mat_labels(path: Path) -> LabelSet:
    """Which of the three it is, the content says.  Raises BadInputError naming the file."""
    stored = read_limited(_READER, path, error=LabelFileError)
    return _mpii(path, stored) if "points" in stored else _leeds(path, stored["leeds"])


def _mpii(path: Path, stored: dict[str, object]) -> LabelSet:
    points, picture, names = np.asarray(stored["points"]), np.asarray(stored["picture"]), stored["names"]
    assert isinstance(names, list)
    subject = np.zeros(len(picture), dtype=np.int64)
    for i in range(1, len(picture)):
        subject[i] = subject[i - 1] + 1 if picture[i] == picture[i - 1] else 0
    state = np.where(points[..., 2] == 0, PointState.OCCLUDED, PointState.VISIBLE)
    labels = _labels(points[..., :2] - 1, state, [names[i] for i in picture], subject.tolist())
    notes = [_ONE_BASED, "of each picture, people without points are left out"]
    unsaid = int((np.isnan(points[..., 2]) & np.isfinite(points[..., 0])).sum())
    if unsaid:
        notes.append(f"{unsaid} points do not say whether they are visible: they count as visible")
    return LabelSet(load_skeleton("mpii16"), labels, tuple(notes))


def _leeds(path: Path, stored: FloatArray) -> LabelSet:
    if stored.ndim == 3 and stored.shape[:2] == (3, 14):
        table, extended = stored.transpose(2, 1, 0), False
    elif stored.ndim == 3 and stored.shape[:2] == (14, 3):
        table, extended = stored.transpose(2, 0, 1), True
    else:
        raise LabelFileError(
            f"{path}: 'joints': expected shape (3, 14, n) of Leeds Sports Pose or (14, 3, n) of its extension, got {stored.shape}"
        )
    if not np.isin(table[..., 2], (0, 1)).all():
        raise LabelFileError(f"{path}: 'joints': expected 0 or 1 as the third number of each point")
    if extended:
        state = np.where(table[..., 2] == 1, PointState.VISIBLE, PointState.UNLABELLED)
    else:
        state = np.where(table[..., 2] == 1, PointState.OCCLUDED, PointState.VISIBLE)
    names = [f"images/im{i:0{5 if extended else 4}d}.jpg" for i in range(1, len(table) + 1)]
    rule = "third number: 1 is visible, other points have no place" if extended else "third number: 1 is occluded"
    return LabelSet(load_skeleton("lsp14"), _labels(table[..., :2] - 1, state, names, [0] * len(table)), (_ONE_BASED, rule))


def _labels(xy_px: FloatArray, state: IntArray, names: list[str], subjects: list[int]) -> tuple[LabelledImage, ...]:
    placed = np.isfinite(xy_px).all(axis=-1) & (state != PointState.UNLABELLED)
    state = np.where(placed, state, PointState.UNLABELLED).astype(np.int64)
    points = np.where(placed[..., None], xy_px, np.nan)
    return tuple(
        LabelledImage(ImageRef(name.replace("\\", "/")), points[i], state[i], subject=subject)
        for i, (name, subject) in enumerate(zip(names, subjects, strict=True))
    )
