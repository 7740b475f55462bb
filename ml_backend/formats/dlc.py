"""DeepLabCut: hand labels (CollectedData, CSV or HDF5, one or several animals) and predictions (the same with likelihood).

What the format cannot say: whether a placed point is occluded (it reads as visible), and absent (it becomes unlabelled).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from label_config.values import FloatArray, ImageRef, IntArray, PointState
from label_config.values.errors import LabelFileError
from label_config.values.skeleton import Skeleton
from ml_backend.child_processes.limited_child import read_limited
from ml_backend.formats.label_records import LabelledImage, LabelSet, key_from_path, with_one_label_each
from ml_backend.formats.point_table import (
    PointTable,
    check_columns,
    clean_path,
    point_table,
    read_point_table,
    write_point_table,
)
from ml_backend.formats.tracks import picture_of


def read_table(path: Path, most_lines: int | None = None) -> PointTable:
    """A table of DeepLabCut's, CSV (of which the first lines may do) or (``.h5``) HDF5.  Raises BadInputError."""
    if path.suffix.lower() not in (".h5", ".hdf5", ".hdf"):
        return read_point_table(path, most_lines)
    if importlib.util.find_spec("h5py") is None:
        raise LabelFileError(f"{path}: HDF5 files need h5py; install it with pip install 'label-studio-parallax[labels]'")
    found = read_limited("ml_backend.formats.dlc_h5:read", path)
    columns = [(individual, bodypart, coord.lower()) for _, individual, bodypart, coord in found["columns"]]
    if not columns:
        raise LabelFileError(f"{path}: the table names no keypoint")
    check_columns(str(path), columns)
    if np.isinf(found["values"]).any():
        raise LabelFileError(f"{path}: expected finite numbers, got an infinite one")
    rows = [clean_path(row) for row in found["rows"]]
    return point_table(found["columns"][0][0], columns, rows, found["values"], range(1, len(rows) + 1))


def read_dlc(path: Path) -> LabelSet:
    """A CollectedData table.  Individuals become subjects in the order of the header; pictures in which a subject has no
    point are left out for it, and counted in a note where no subject has any.

    Mirror rigs, whose keypoint names end in the view: see :func:`ml_backend.formats.label_records.split_views`.
    """
    table = read_table(path)
    if not {"x", "y"} <= set(table.coords) or "likelihood" in table.coords:
        raise LabelFileError(
            f"{path}: expected hand labels with coords x, y, got {', '.join(table.coords)}; "
            "files with likelihood are predictions, not labels"
        )
    skeleton = Skeleton(path.stem, table.bodyparts)
    labels, notes = with_one_label_each(str(path), list(_labels(path, table)))
    return LabelSet(skeleton, labels, (*table.notes, *_about(table, len({label.image for label in labels})), *notes))


def _labels(path: Path, table: PointTable) -> Iterator[tuple[str, LabelledImage]]:
    xy = xy_of(path, table)
    people = (table.scorer,) if table.scorer else ()
    for row, name in enumerate(table.rows):
        for subject in range(len(table.individuals)):
            placed = np.isfinite(xy[row, subject]).all(axis=-1)
            if placed.any():
                state: IntArray = np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)
                label = LabelledImage(
                    ImageRef(name), xy[row, subject], state, key=key_from_path(name), subject=subject, people=people
                )
                yield f"row {table.lines[row]}", label


def _about(table: PointTable, pictures: int) -> list[str]:
    notes = []
    if len(table.individuals) > 1:
        names = ", ".join(f"{name!r} is subject {i}" for i, name in enumerate(table.individuals))
        notes.append(f"{len(table.individuals)} individuals: {names}")
    empty = len(set(table.rows)) - pictures
    return [*notes, f"{empty} of {len(set(table.rows))} pictures have no point and are left out"] if empty else notes


def xy_of(path: Path, table: PointTable) -> FloatArray:
    """(rows, individuals, K, 2) coordinates.  Raises BadInputError for a point with only one of them."""
    xy = table.values[..., [table.coords.index("x"), table.coords.index("y")]]
    half = np.argwhere(np.isfinite(xy[..., 0]) != np.isfinite(xy[..., 1]))
    if len(half):
        row, _, k = half[0]
        raise LabelFileError(f"{path}:{table.lines[row]}: keypoint {table.bodyparts[k]!r} has only one of x and y")
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
            raise LabelFileError(
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
class DlcPredictions:
    """A network's output for one video.

    frame_index  (n,) as the file numbers them
    xy_px        (n, K, 2) image pixels, NaN = none
    confidence   (n, K) likelihood, NaN = none
    """

    skeleton: Skeleton
    frame_index: IntArray
    xy_px: FloatArray
    confidence: FloatArray


def read_dlc_predictions(path: Path) -> DlcPredictions:
    """Predictions (x, y, likelihood; one animal) of DeepLabCut, Lightning Pose or EKS."""
    table = read_table(path)
    if not {"x", "y", "likelihood"} <= set(table.coords):
        raise LabelFileError(f"{path}: expected predictions with coords x, y, likelihood, got {', '.join(table.coords)}")
    if len(table.individuals) != 1:
        raise LabelFileError(f"{path}: expected the predictions of one animal, got {', '.join(table.individuals)}")
    return DlcPredictions(
        Skeleton(path.stem, table.bodyparts),
        _frame_numbers(path, table),
        xy_of(path, table)[:, 0],
        table.values[:, 0, :, table.coords.index("likelihood")],
    )


def read_dlc_predicted(path: Path, video: str | None = None) -> LabelSet:
    """The same, of one or several animals, as predicted labels.

    video  whose frames they are, by its file name or folder; None = the one that the file is called by, as anipose does
    """
    video_or_folder = video or path.stem.partition("DLC_")[0]
    table = read_table(path)
    if not {"x", "y", "likelihood"} <= set(table.coords):
        raise LabelFileError(f"{path}: expected predictions with coords x, y, likelihood, got {', '.join(table.coords)}")
    xy, numbers = xy_of(path, table), _frame_numbers(path, table)
    likelihood = np.clip(table.values[..., table.coords.index("likelihood")], 0.0, 1.0)
    labels = []
    for row, subject in np.argwhere(np.isfinite(xy).all(axis=-1).any(axis=-1)).tolist():
        placed = np.isfinite(xy[row, subject]).all(axis=-1)
        state: IntArray = np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)
        image = picture_of(video_or_folder, int(numbers[row]))
        confidence = np.where(placed, likelihood[row, subject], np.nan)
        labels.append(LabelledImage(image, xy[row, subject], state, subject=subject, confidence=confidence))
    assumed = () if video else (f"the file names no video: its points are taken for those of {video_or_folder!r} (else --video)",)
    notes = (*table.notes, *_about(table, len(set(table.rows))), *assumed)
    return LabelSet(Skeleton(path.stem, table.bodyparts), tuple(labels), notes)


def _frame_numbers(path: Path, table: PointTable) -> IntArray:
    wrong = next((i for i, name in enumerate(table.rows) if not name.isdecimal() or len(name) > 12), None)
    if wrong is not None:
        raise LabelFileError(f"{path}:{table.lines[wrong]}: expected a frame number in column 1, got {table.rows[wrong]!r}")
    return np.array([int(name) for name in table.rows], dtype=np.int64)
