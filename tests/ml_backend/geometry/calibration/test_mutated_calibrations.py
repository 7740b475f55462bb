"""Damaged files of every reader: a value or a BadInputError, never anything else."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from label_config.values import BadInputError
from ml_backend.geometry.calibration import read_calibration, write_calibration
from ml_backend.geometry.cameras import Rig
from tests.foreign.calibrations import caliscope, easymocap, jarvis, kalibr, mc_calib, panoptic, qualisys

#: What parsers stumble over, put in the place of a piece of the file.
PIECES = [
    b"",
    b"null",
    b"nan",
    b"1e999",
    b"-1e308",
    b"[]",
    b"[[",
    b"}",
    b'"',
    b"\x00",
    b"\xff\xfe",
    b"9" * 400,
    b"true",
    b"{}",
    b"<a>",
]


def written(format: str, rig: Rig, folder: Path) -> Path:
    """A whole file of the format; the file to damage."""
    if format == "dannce":
        params = np.empty((1, 1), dtype=object)
        params[0, 0] = {"K": rig.cameras[0].K.T, "r": rig.cameras[0].R_cam_world.T, "t": rig.cameras[0].t_cam_world}
        savemat(folder / "c.mat", {"params": params}, do_compression=True)
        return folder / "c.mat"
    if format in ("anipose", "pose2sim", "opencv"):
        path = folder / ("c.yml" if format == "opencv" else "c.toml")
        write_calibration(rig, path, format)
        return path
    if format in ("caliscope", "kalibr"):
        path = folder / "c.txt"
        path.write_text(caliscope(rig, "cameras.") if format == "caliscope" else kalibr(rig))
        return path
    if format == "mc-calib":
        mc_calib(rig, folder / "c.yml")
        return folder / "c.yml"
    made = {"qualisys": qualisys, "panoptic": panoptic, "easymocap": easymocap, "jarvis": jarvis}[format](rig, folder)
    return made if made.is_file() else sorted(made.iterdir())[0]


def damaged(raw: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(raw) + 1)
        end = min(len(raw), start + rng.choice([0, 1, 1, 4, 30, 400]))
        piece = rng.choice([*PIECES, rng.randbytes(1), raw[end : end + rng.randint(1, 60)]])
        raw = raw[:start] + piece + raw[end:]
    return raw


def campaign(format: str, count: int, rig: Rig, folder: Path) -> None:
    path = written(format, rig, folder)
    read_calibration(path if format != "jarvis" else folder, format)  # whole, it is read
    whole = path.read_bytes()
    rng = random.Random(format)
    for _ in range(count):
        path.write_bytes(damaged(whole, rng))
        with contextlib.suppress(BadInputError):
            read_calibration(path, format)
        with contextlib.suppress(BadInputError):
            read_calibration(path)


TEXT = ["anipose", "pose2sim", "opencv", "qualisys", "panoptic", "easymocap", "jarvis", "caliscope", "kalibr", "mc-calib"]


@pytest.mark.parametrize("format", TEXT)
def test_some_mutated_files(format, rig, tmp_path):
    campaign(format, 40, rig, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("format", TEXT)
def test_many_mutated_files(format, rig, tmp_path):
    campaign(format, 10_000, rig, tmp_path)


@pytest.mark.parametrize("count", [5, pytest.param(1_000, marks=pytest.mark.slow)])
def test_mutated_matlab_files_cost_their_child_only(count, rig, tmp_path):
    campaign("dannce", count, rig, tmp_path)


def test_a_list_in_the_place_of_a_table(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"cameras": [{"K": 1, "R": 2, "t": 3}, 7]}))
    with pytest.raises(BadInputError, match=r"c\.json"):
        read_calibration(tmp_path / "c.json")
