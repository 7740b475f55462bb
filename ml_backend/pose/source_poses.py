"""The labelled poses that a model was trained on, kept in its folder: what a later project with few labels can learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from label_config.values import FloatArray
from label_config.values.atomic_files import replacing
from label_config.values.errors import ModelError
from label_config.values.refusing import refusing

NAME = "poses.npz"


def write_poses(folder: Path, xy_px: FloatArray, crop_px: FloatArray) -> None:
    """Keep labelled points (m, V, K, 2) and the crops (m, V, 4) that the network is given beside its weights."""
    with replacing(folder / NAME) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, xy_px=xy_px.astype(np.float32), crop_px=crop_px.astype(np.float32))


def read_poses(folder: Path) -> tuple[FloatArray, FloatArray] | None:
    """(m, V, K, 2) and (m, V, 4), None when the folder has none, as that of an older model."""
    if not (folder / NAME).is_file():
        return None
    with (
        refusing(ModelError, f"{folder / NAME}: expected the poses that the model was trained on"),
        np.load(folder / NAME, allow_pickle=False) as file,
    ):
        return file["xy_px"].astype(np.float64), file["crop_px"].astype(np.float64)
