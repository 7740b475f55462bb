"""A DeepLabCut project folder: ``config.yaml``, and for each video a folder with pictures and CollectedData as CSV and HDF5.

DeepLabCut trains on the HDF5 tables of the videos that ``config.yaml`` lists, by the scorer named there.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath

import yaml

from label_config.values import FloatArray
from label_config.values.errors import LabelFileError
from ml_backend.formats.dlc import write_dlc
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.formats.point_table import read_point_table

#: A video that need not be there: DeepLabCut finds the folder of labels by its name.
_VIDEO = "videos/{}.mp4"


def write_dlc_project(labels: LabelSet, target: Path, *, scorer: str) -> list[str]:
    """Write the folder; pictures are named ``labeled-data/<video>/<picture>``.  Notes say what is missing."""
    by_folder: dict[PurePosixPath, list[LabelledImage]] = defaultdict(list)
    for label in labels.labels:
        by_folder[PurePosixPath(label.image.source).parent].append(label)
    whole = has_tables()
    for folder, members in by_folder.items():
        path = target / folder / f"CollectedData_{scorer}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_dlc(replace(labels, labels=tuple(members)), path, scorer=scorer)
        if whole:
            _as_hdf5(path)
    _write_config(labels, target, by_folder, scorer)
    if whole:
        return []
    return [
        "the tables are CSV only: HDF5 needs pandas and tables (pip install 'label-studio-parallax[labels]'); "
        "deeplabcut.convertcsv2h5('config.yaml') makes it from them"
    ]


def has_tables() -> bool:
    """Whether HDF5 tables can be written."""
    return all(importlib.util.find_spec(name) is not None for name in ("pandas", "tables"))


def write_table(
    path: Path,
    *,
    scorer: str,
    individuals: Sequence[str],
    bodyparts: Sequence[str],
    coords: Sequence[str],
    rows: Sequence[tuple[str, ...]] | Sequence[int],
    values: FloatArray,
) -> None:
    """values (rows, individuals, bodyparts, coords) as pandas keeps them for DeepLabCut; ``individuals`` ("",) leaves them out.

    Raises BadInputError when pandas or its HDF5 library is not installed.
    """
    if not has_tables():
        raise LabelFileError(f"{path}: needs pandas and tables; install them with pip install 'label-studio-parallax[labels]'")
    import pandas as pd

    named = tuple(individuals) != ("",)
    levels = [[scorer], individuals, bodyparts, coords] if named else [[scorer], bodyparts, coords]
    names = ["scorer", "individuals", "bodyparts", "coords"] if named else ["scorer", "bodyparts", "coords"]
    several = bool(rows) and isinstance(rows[0], tuple)
    index = pd.MultiIndex.from_tuples(rows) if several else pd.Index(rows)
    frame = pd.DataFrame(
        values.reshape(len(rows), -1), columns=pd.MultiIndex.from_product(levels, names=names), index=index, dtype="float64"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names that are pickled, as DeepLabCut's own are
        frame.to_hdf(path, key="df_with_missing", mode="w", format="fixed" if several else "table")


def _as_hdf5(path: Path) -> None:
    """The CSV beside itself, with the picture's path in three columns as DeepLabCut has it since 2.2."""
    table = read_point_table(path)
    write_table(
        path.with_suffix(".h5"),
        scorer=table.scorer,
        individuals=table.individuals,
        bodyparts=table.bodyparts,
        coords=table.coords,
        rows=[tuple(PurePosixPath(row).parts) for row in table.rows],
        values=table.values,
    )


def _write_config(labels: LabelSet, target: Path, by_folder: dict[PurePosixPath, list[LabelledImage]], scorer: str) -> None:
    names = list(labels.skeleton.keypoints)
    subjects = max((label.subject for label in labels.labels), default=0) + 1
    now = datetime.now()
    parts = (
        {"bodyparts": names}
        if subjects == 1
        else {
            "individuals": [f"individual{i + 1}" for i in range(subjects)],
            "uniquebodyparts": [],
            "multianimalbodyparts": names,
            "bodyparts": "MULTI!",
        }
    )
    videos = {}
    for folder, members in by_folder.items():
        width, height = next((label.image.size_px for label in members if label.image.size_px), (0, 0))
        videos[str(target.resolve() / _VIDEO.format(folder.name))] = {"crop": f"0, {width}, 0, {height}"}
    config = {
        "Task": labels.skeleton.name,
        "scorer": scorer,
        "date": f"{now:%b}{now.day}",
        "multianimalproject": subjects > 1,
        "identity": None if subjects == 1 else False,
        "project_path": str(target.resolve()),
        "engine": "pytorch",
        "video_sets": videos,
        **parts,
        "start": 0,
        "stop": 1,
        "numframes2pick": 20,
        "skeleton": [[names[a], names[b]] for a, b in labels.skeleton.limbs],
        "skeleton_color": "black",
        "pcutoff": 0.6,
        "dotsize": 12,
        "alphavalue": 0.7,
        "colormap": "rainbow",
        "TrainingFraction": [0.95],
        "iteration": 0,
        "default_net_type": "resnet_50",
        "default_augmenter": "default",
        "snapshotindex": -1,
        "batch_size": 8,
        "cropping": False,
        "x1": 0,
        "x2": 640,
        "y1": 277,
        "y2": 624,
        "corner2move2": [50, 50],
        "move2corner": True,
    }
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    (target / "config.yaml").write_text(text, encoding="utf-8")
