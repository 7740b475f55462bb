"""Damaged files of every reader: a value or a BadInputError, never anything else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from label_config.values import BadInputError
from ml_backend.geometry.calibration import dannce, read_calibration, write_calibration
from ml_backend.geometry.cameras import Rig
from tests.campaign import Target, campaign, read_here
from tests.foreign.calibrations import caliscope, easymocap, four_cameras, jarvis, kalibr, mc_calib, panoptic, qualisys


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


def calibration(folder: Path, format: str) -> Target:
    path = written(format, four_cameras(), folder)
    read_calibration(path if format != "jarvis" else folder, format)  # whole, it is read

    def read(damaged: Path) -> None:
        try:
            read_calibration(damaged)
        finally:
            read_calibration(path, format)

    return path, read


def matlab(folder: Path) -> Target:
    """What the child does of a ``.mat`` file and what its parent makes of that, in one process."""
    dannce.read_limited = read_here  # type: ignore[attr-defined]
    return calibration(folder, "dannce")


TEXT = ["anipose", "pose2sim", "opencv", "qualisys", "panoptic", "easymocap", "jarvis", "caliscope", "kalibr", "mc-calib"]
MANY = pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])


@pytest.mark.parametrize("count", [50, MANY], ids=["a few", "many"])
@pytest.mark.parametrize("format", TEXT)
def test_damaged_files_are_read_or_refused(format: str, count: int, tmp_path: Path) -> None:
    found = campaign(f"{__name__}:calibration:{format}", tmp_path, count)
    assert (found.problems, found.deaths) == ((), ())


@pytest.mark.parametrize("count", [50, MANY], ids=["a few", "many"])
def test_damaged_matlab_files_cost_their_child_only(count: int, tmp_path: Path) -> None:
    assert campaign(f"{__name__}:matlab", tmp_path, count).problems == ()


def test_a_list_in_the_place_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"cameras": [{"K": 1, "R": 2, "t": 3}, 7]}))
    with pytest.raises(BadInputError, match=r"c\.json"):
        read_calibration(tmp_path / "c.json")
