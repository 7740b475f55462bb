"""DeepLabCut: hand labels (CollectedData CSV, one or several animals) and predictions (CSV).

What the format cannot say: whether a placed point is occluded (it reads as visible), and absent (it becomes unlabelled).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from label_config.skeleton import Skeleton
from label_config.values import DEFAULT_SUBJECT, BadInputError, FloatArray, ImageRef, IntArray, PointState
from ml_backend.formats.point_table import PointTable, read_point_table, write_point_table
from ml_backend.formats.records import LabelledImage, LabelSet, key_from_path


def read_dlc(path: Path) -> LabelSet:
    """A CollectedData CSV.  Individuals become subjects in the order of the header; one without a point in a picture is
    left out there, except that every picture keeps at least its first.

    Mirror rigs, whose keypoint names end in the view: see :func:`ml_backend.formats.records.split_views`.
    """
    table = read_point_table(path)
    if not {"x", "y"} <= set(table.coords) or "likelihood" in table.coords:
        raise BadInputError(
            f"{path}: expected hand labels with coords x, y, got {', '.join(table.coords)}; "
            "files with likelihood are predictions, not labels"
        )
    xy = xy_of(path, table)
    labels = []
    for row, name in enumerate(table.rows):
        for subject in range(len(table.individuals)):
            placed = np.isfinite(xy[row, subject]).all(axis=-1)
            if subject == DEFAULT_SUBJECT or placed.any():
                state: IntArray = np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)
                labels.append(LabelledImage(ImageRef(name), xy[row, subject], state, key=key_from_path(name), subject=subject))
    return LabelSet(Skeleton(path.stem, table.bodyparts), tuple(labels))


def xy_of(path: Path, table: PointTable) -> FloatArray:
    """(rows, individuals, K, 2) coordinates.  Raises BadInputError for a point with only one of them."""
    xy = table.values[..., [table.coords.index("x"), table.coords.index("y")]]
    half = np.argwhere(np.isfinite(xy[..., 0]) != np.isfinite(xy[..., 1]))
    if len(half):
        row, _, k = half[0]
        raise BadInputError(f"{path}:{table.lines[row]}: keypoint {table.bodyparts[k]!r} has only one of x and y")
    return xy


def write_dlc(labels: LabelSet, path: Path, *, scorer: str) -> None:
    """A CollectedData CSV; with the header of several animals when any subject is not the first."""
    subjects = max((label.subject for label in labels.labels), default=0) + 1
    rows = list(dict.fromkeys(label.image.source for label in labels.labels))
    values = np.full((len(rows), subjects, len(labels.skeleton), 2), np.nan)
    position = {name: i for i, name in enumerate(rows)}
    seen: set[tuple[str, int]] = set()
    for label in labels.labels:
        place = (label.image.source, label.subject)
        if place in seen:
            raise BadInputError(
                f"{path}: picture {place[0]!r} has two labels for subject {place[1]}; join the views of one picture first"
            )
        seen.add(place)
        values[position[place[0]], label.subject] = label.xy_px
    write_point_table(
        path,
        scorer=scorer,
        individuals=("",) if subjects == 1 else tuple(f"individual{i + 1}" for i in range(subjects)),
        bodyparts=labels.skeleton.keypoints,
        coords=("x", "y"),
        rows=rows,
        values=values,
    )


@dataclass(frozen=True)
class Predictions:
    """A network's output for one video.

    frame_index  (n,) as the file numbers them
    xy_px        (n, K, 2) image pixels, NaN = none
    confidence   (n, K) likelihood, NaN = none
    """

    skeleton: Skeleton
    frame_index: IntArray
    xy_px: FloatArray
    confidence: FloatArray


def read_dlc_predictions(path: Path) -> Predictions:
    """A prediction CSV (x, y, likelihood; one animal) of DeepLabCut, Lightning Pose or EKS."""
    table = read_point_table(path)
    if not {"x", "y", "likelihood"} <= set(table.coords):
        raise BadInputError(f"{path}: expected predictions with coords x, y, likelihood, got {', '.join(table.coords)}")
    if len(table.individuals) != 1:
        raise BadInputError(f"{path}: expected the predictions of one animal, got {', '.join(table.individuals)}")
    wrong = next((i for i, name in enumerate(table.rows) if not name.isdecimal()), None)
    if wrong is not None:
        raise BadInputError(f"{path}:{table.lines[wrong]}: expected a frame number in column 1, got {table.rows[wrong]!r}")
    return Predictions(
        Skeleton(path.stem, table.bodyparts),
        np.array([int(name) for name in table.rows], dtype=np.int64),
        xy_of(path, table)[:, 0],
        table.values[:, 0, :, table.coords.index("likelihood")],
    )
