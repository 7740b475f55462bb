"""Lightning Pose: one CollectedData CSV per view, with the optional ``visible`` column of its 2.1.2 layout.

visible 2 = visible, 1 = occluded, 0 = not labelled.  An occluded point without coordinates asks Lightning Pose for an
empty heatmap; that is our "absent".  So all four states survive a round trip.  Lightning Pose's training does not use the
coordinates of occluded points, so they may also be written as visible ones.  One subject only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from label_config.values import DEFAULT_SUBJECT, BoolArray, ImageRef, IntArray, PointState
from label_config.values.errors import LabelFileError
from label_config.values.skeleton import Skeleton
from ml_backend.formats.dlc import xy_of
from ml_backend.formats.label_records import LabelledImage, LabelSet, key_from_path, with_one_label_each
from ml_backend.formats.point_table import PointTable, read_point_table, write_point_table

_VISIBLE = {PointState.UNLABELLED: 0, PointState.ABSENT: 1, PointState.OCCLUDED: 1, PointState.VISIBLE: 2}


def read_lightning_pose(paths: Mapping[str | None, Path]) -> LabelSet:
    """View → CSV; ``{None: path}`` for a single view.  The n-th rows of all files show the same instant."""
    if not paths:
        raise LabelFileError("Lightning Pose: expected at least one CSV, got none")
    labels: list[tuple[str, LabelledImage]] = []
    notes: list[str] = []
    keypoints: tuple[str, ...] | None = None
    rows: int | None = None
    for view, path in paths.items():
        table = read_point_table(path)
        if keypoints is not None and (table.bodyparts != keypoints or len(table.rows) != rows):
            raise LabelFileError(f"{path}: its keypoints or number of rows differ from the other views'; rows must correspond")
        keypoints, rows = table.bodyparts, len(table.rows)
        if not {"x", "y"} <= set(table.coords) or "likelihood" in table.coords or len(table.individuals) > 1:
            raise LabelFileError(f"{path}: expected hand labels of one subject with coords x, y[, visible]")
        xy = xy_of(path, table)[:, 0]
        state = _state(path, table, np.asarray(np.isfinite(xy).all(axis=-1)))
        xy[~np.isin(state, (PointState.VISIBLE, PointState.OCCLUDED))] = np.nan
        people = (table.scorer,) if table.scorer else ()
        found = [
            (
                f"{path.name} row {table.lines[i]}",
                LabelledImage(ImageRef(name), xy[i], state[i], view, key_from_path(name), people=people),
            )
            for i, name in enumerate(table.rows)
        ]
        kept = [item for item in found if item[1].says_something]
        notes += table.notes
        if len(kept) < len(found):
            notes.append(f"{path.name}: {len(found) - len(kept)} of {len(found)} pictures have no point and are left out")
        labels += kept
    skeleton = Skeleton(next(iter(paths.values())).stem, keypoints or ())
    once, repeated = with_one_label_each(str(next(iter(paths.values()))), labels)
    return LabelSet(skeleton, once, (*notes, *repeated))


def _state(path: Path, table: PointTable, placed: BoolArray) -> IntArray:
    """(rows, K) states from coordinates and, where there is one, the column ``visible``."""
    if "visible" not in table.coords:
        return np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)
    visible = np.nan_to_num(table.values[:, 0, :, table.coords.index("visible")], nan=0.0)
    bad = np.argwhere(~np.isin(visible, (0, 1, 2)) | ((visible == 2) & ~placed))
    if len(bad):
        row, k = bad[0]
        raise LabelFileError(
            f"{path}:{table.lines[row]}: keypoint {table.bodyparts[k]!r}: visible must be 0, 1 or 2, and 2 needs coordinates; "
            f"got {visible[row, k]:g}"
        )
    state = np.full(placed.shape, PointState.UNLABELLED, dtype=np.int64)
    state[visible == 2] = PointState.VISIBLE
    state[(visible == 1) & placed] = PointState.OCCLUDED
    state[(visible == 1) & ~placed] = PointState.ABSENT
    return state


def write_lightning_pose(
    labels: LabelSet, paths: Mapping[str | None, Path], *, scorer: str, occluded_as_visible: bool = False
) -> None:
    """One CSV with a ``visible`` column for every view in ``paths``, rows in the order of the labels.

    occluded_as_visible  so that Lightning Pose trains on placed points that are hidden
    """
    code = _VISIBLE | ({PointState.OCCLUDED: 2} if occluded_as_visible else {})
    for view, path in paths.items():
        chosen = [label for label in labels.labels if label.view == view]
        other = next((label for label in chosen if label.subject != DEFAULT_SUBJECT), None)
        if other is not None:
            raise LabelFileError(
                f"{path}: Lightning Pose knows one subject, but {other.image.source!r} has subject {other.subject}; "
                "use COCO or DeepLabCut for several"
            )
        values = np.full((len(chosen), 1, len(labels.skeleton), 3), np.nan)
        for i, label in enumerate(chosen):
            values[i, 0, :, :2] = label.xy_px
            values[i, 0, :, 2] = [code[PointState(s)] for s in label.state]
        write_point_table(
            path,
            scorer=scorer,
            individuals=("",),
            bodyparts=labels.skeleton.keypoints,
            coords=("x", "y", "visible"),
            rows=[label.image.source for label in chosen],
            values=values,
        )
