"""Damaged HDF5 files: what children made of them is taken as a value or refused, never another exception.

Children that die or hang are errors in words (``recordings/test_limited_child.py``); here fifty files share one.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import ParallaxError
from ml_backend.formats import dlc, sleap
from ml_backend.recordings.limited_child import read_limited

from .test_dlc_h5 import pandas_table
from .test_mutated_files import damaged, labels

BATCH = 50


def deeplabcut(path: Path) -> str:
    pandas_table(path, pickle.dumps([("me", "nose", "x"), ("me", "nose", "y")], protocol=0))
    return "ml_backend.formats.dlc_h5"


def sleap_labels(path: Path) -> str:
    sleap.write_sleap(labels(), path.with_suffix(".slp"))
    path.with_suffix(".slp").rename(path)
    return "ml_backend.formats.sleap_file"


def outcomes(make: Callable[[Path], str], folder: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> int:
    """How many of so many mutations were read or refused in words by the parent."""
    (folder / "many").mkdir()
    module = make(folder / "plain.h5")
    (folder / "many" / "reader").write_text(module)
    plain, chance = (folder / "plain.h5").read_bytes(), random.Random(21)
    done = 0
    for _ in range(count // BATCH):
        for n in range(BATCH):
            (folder / "many" / f"{n:02d}.h5").write_bytes(damaged(plain, chance))
        try:
            answers = read_limited("tests.ml_backend.formats.many_hdf5:read_many", folder / "many")["answers"]
        except ParallaxError:  # the child died or hung
            done += BATCH
            continue
        for name, answer in answers.items():
            understood(module, folder / "many" / name, answer, monkeypatch)
            done += 1
    return done


def understood(module: str, path: Path, answer: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parent makes of a child's answer."""
    if answer is None:
        return
    found = {k: np.array(v) if k in ("values", "xy_px", "visible", "score", *_NUMBERS) else v for k, v in answer.items()}
    for room in (dlc, sleap):
        monkeypatch.setattr(room, "read_limited", lambda function, file: found)
    try:
        dlc.read_dlc(path) if module.endswith("dlc_h5") else sleap.read_sleap(path)
    except ParallaxError:
        return


_NUMBERS = ("video", "frame", "track", "predicted")


@pytest.mark.parametrize("make", [deeplabcut, sleap_labels])
def test_damaged_hdf5(make: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcomes(make, tmp_path, monkeypatch, 200) == 200


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("make", [deeplabcut, sleap_labels])
def test_ten_thousand_damaged_hdf5(make: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcomes(make, tmp_path, monkeypatch, 10_000) == 10_000
