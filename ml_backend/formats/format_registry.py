"""Which label formats there are, which one a file is, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from label_config.values.errors import LabelFileError
from ml_backend.formats.coco import Visibility, read_coco
from ml_backend.formats.dlc import read_dlc, read_dlc_predicted, read_table
from ml_backend.formats.interhand import is_interhand, read_interhand
from ml_backend.formats.json_file import load_json
from ml_backend.formats.label_records import LabelSet
from ml_backend.formats.label_studio import read_label_studio
from ml_backend.formats.lightning_pose import read_lightning_pose
from ml_backend.formats.mat_datasets import read_mat_labels
from ml_backend.formats.movement import read_movement
from ml_backend.formats.names import LabelFormat
from ml_backend.formats.panoptic_poses import is_panoptic, read_panoptic_poses
from ml_backend.formats.sleap import read_sleap
from ml_backend.formats.yolo import read_yolo

#: Of a table, to see what it is: its header is four of them at most.
_HEAD_LINES = 8
_TABLES, _SLEAP, _HDF5, _NETCDF = (".csv", ".tsv", ".txt"), (".slp",), (".h5", ".hdf5", ".hdf"), (".nc",)


def detect_format(path: Path) -> LabelFormat:
    """By the name and the content.  Raises BadInputError that lists what is readable."""
    suffix = path.suffix.lower()
    if path.is_dir():
        if (path / "data.yaml").exists():
            return LabelFormat.YOLO
        if is_panoptic(path):
            return LabelFormat.PANOPTIC
        if list(_collected(path)):
            return LabelFormat.DLC
    elif suffix in (".yaml", ".yml"):
        return LabelFormat.YOLO
    elif suffix in _SLEAP:
        return LabelFormat.SLEAP
    elif suffix in _NETCDF:
        return LabelFormat.MOVEMENT
    elif suffix in _TABLES or suffix in _HDF5:
        coords = read_table(path, most_lines=_HEAD_LINES).coords
        if "likelihood" in coords:  # anipose's tables are DeepLabCut's predictions
            return LabelFormat.ANIPOSE
        return LabelFormat.LIGHTNING_POSE if "visible" in coords else LabelFormat.DLC
    elif suffix == ".mat":
        return LabelFormat.MAT
    elif is_interhand(path):
        return LabelFormat.INTERHAND
    elif is_panoptic(path):
        return LabelFormat.PANOPTIC
    elif suffix == ".json":
        return LabelFormat.LABEL_STUDIO if isinstance(load_json(path), list) else LabelFormat.COCO
    raise LabelFileError(
        f"{path}: not a label file that can be read. Readable are: DeepLabCut (CollectedData .csv or .h5, a project folder), "
        "Lightning Pose (.csv), COCO (.json), SLEAP (.slp, .pkg.slp), YOLO-pose (data.yaml or its folder), "
        "Label Studio (JSON export), movement (.nc), MPII and Leeds Sports Pose (.mat), InterHand2.6M (_data.json), "
        "CMU Panoptic (hdPose3d_stage1_coco19), "
        "predictions of DeepLabCut, Lightning Pose, EKS and anipose (.csv, .h5)"
    )


def read_labels(
    path: Path,
    format: LabelFormat | None = None,
    *,
    category: str | None = None,
    visibility: Visibility = "auto",
    video: str | None = None,
    words: Mapping[str, str] | None = None,
) -> LabelSet:
    """The labels of a file or folder; ``format`` None = the one that it looks like.

    category, visibility  see ``read_coco``
    words                 see ``read_label_studio``
    video                 of which predictions and tracks are, by its file name, or the folder of its pictures

    Raises BadInputError naming the file.
    """
    if not path.exists():
        raise LabelFileError(f"{path}: no such file or folder")
    readers: dict[LabelFormat, Callable[[], LabelSet]] = {
        LabelFormat.DLC: lambda: _dlc(path),
        LabelFormat.LIGHTNING_POSE: lambda: read_lightning_pose({None: path}),
        LabelFormat.COCO: lambda: read_coco(path, category=category, visibility=visibility),
        LabelFormat.SLEAP: lambda: read_sleap(path),
        LabelFormat.YOLO: lambda: read_yolo(path),
        LabelFormat.LABEL_STUDIO: lambda: read_label_studio(path, words),
        LabelFormat.MOVEMENT: lambda: read_movement(path, video),
        LabelFormat.MAT: lambda: read_mat_labels(path),
        LabelFormat.INTERHAND: lambda: read_interhand(path),
        LabelFormat.PANOPTIC: lambda: read_panoptic_poses(path),
        LabelFormat.ANIPOSE: lambda: read_dlc_predicted(path, video),
    }
    return readers[format or detect_format(path)]()


def _dlc(path: Path) -> LabelSet:
    if path.is_dir():
        return joined([read_dlc(table) for table in _collected(path)], path)
    return read_dlc(path)


def _collected(folder: Path) -> list[Path]:
    """One table per folder of a DeepLabCut project: it keeps each as CSV and as HDF5."""
    found = sorted([*folder.glob("CollectedData_*.csv"), *folder.glob("labeled-data/*/CollectedData_*.csv")])
    tables = sorted([*folder.glob("CollectedData_*.h5"), *folder.glob("labeled-data/*/CollectedData_*.h5")])
    return found + [table for table in tables if table.with_suffix(".csv") not in found]


def joined(parts: list[LabelSet], path: Path, views: Sequence[str] = ()) -> LabelSet:
    """Several files of one data set, those of one camera each where ``views`` names them.

    Raises BadInputError when they name different keypoints, or are not as many as the cameras.
    """
    if not parts:
        raise LabelFileError(f"{path}: expected CollectedData_*.csv here or below labeled-data, found none")
    if views and len(views) != len(parts):
        raise LabelFileError(f"{path}: expected a camera for each of {len(parts)} files, got {', '.join(views)}")
    other = next((part for part in parts if part.skeleton.keypoints != parts[0].skeleton.keypoints), None)
    if other is not None:
        raise LabelFileError(
            f"{path}: its tables name different keypoints, {', '.join(parts[0].skeleton.keypoints)} and "
            f"{', '.join(other.skeleton.keypoints)}; import them one by one"
        )
    cameras: list[str | None] = [*views] or [None] * len(parts)
    named = zip(parts, cameras, strict=True)
    labels = tuple(label if view is None else replace(label, view=view) for part, view in named for label in part.labels)
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return LabelSet(parts[0].skeleton, labels, notes, {key: place for part in parts for key, place in part.embedded.items()})
