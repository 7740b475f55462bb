"""Calibrations that other tools wrote, through ``calibration check``, ``calibration convert`` and ``init --dry-run``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import Result

from label_config.settings.recording_settings import RecordingSettings
from label_config.settings.spec import Spec
from ml_backend.geometry.calibration import Calibration, convert_unit, read_calibration
from plugins.demo.platform import Platform
from plugins.label_studio_sync.adoption_plan import _recording
from tests.foreign.calibrations import FORMATS, MORE, SIZELESS, TARGET, four_cameras
from tests.ml_backend.geometry.calibration.test_foreign_calibrations import REAL, REFUSED

Run = Callable[..., Result]
WRITTEN = FORMATS | MORE
ENDINGS = {"anipose": ".toml", "opencv": ".yml", "pose2sim": ".toml"}
#: Real files that are read and have something wrong → words of the error.
WRONG = {
    "kalibr/padrl_camchain-imucam.yaml": "fits a picture of 640×480, not 480×640",
    "mc-calib/synth_Scenario3_calibrated_cameras_data.yml": "either they stand back to back and share no view",
}


def same_place(before: Calibration, target: Path, to: str) -> None:
    """Points of the written file lie where those of the read one do, and nothing that was guessed is stated."""
    after = read_calibration(target)
    assert (after.format, after.guessed_sizes) == (to, frozenset())
    assert after.rig.names == before.rig.names
    metres, again = convert_unit(before.rig, "m"), convert_unit(after.rig, "m")
    points = np.concatenate([c.centre + [[0.0, 0.0, 3.0], [0.3, 0.2, 3.0]] @ c.R_cam_world for c in metres.cameras[:2]])
    np.testing.assert_allclose(again.subset(again.names[:2]).project(points), metres.subset(metres.names[:2]).project(points))


@pytest.mark.parametrize("name", WRITTEN)
def test_files_of_other_tools_are_checked_and_converted(name: str, run: Run, tmp_path: Path) -> None:
    write, format, unit = WRITTEN[name]
    (tmp_path / "their").mkdir()
    path = write(four_cameras(), tmp_path / "their")
    checked = run("calibration", "check", str(path))
    assert checked.exit_code == 0, checked.output
    calibration = read_calibration(path)
    assert f"{format}, {len(calibration.rig.cameras)} cameras in {unit}: {', '.join(calibration.rig.names)}" in checked.stdout
    assert ("no picture size in the file" in checked.stdout) == (name in SIZELESS)
    sizes = ["--size", "1280x720"] * (name in SIZELESS)
    for to, ending in ENDINGS.items():
        converted = run("calibration", "convert", str(path), str(tmp_path / f"{to}{ending}"), "--to", to, *sizes)
        assert converted.exit_code == 0, converted.output
        same_place(calibration, tmp_path / f"{to}{ending}", to)
        assert read_calibration(tmp_path / f"{to}{ending}").rig.size_px.tolist() == [[1280, 720]] * len(calibration.rig.cameras)


@pytest.mark.parametrize("name", sorted(SIZELESS))
def test_a_guessed_size_is_not_written_as_if_it_were_stated(name: str, run: Run, tmp_path: Path) -> None:
    path = WRITTEN[name][0](four_cameras(), tmp_path)
    refused = run("calibration", "convert", str(path), str(tmp_path / "c.toml"), "--to", "anipose")
    assert refused.exit_code == 1
    assert "has no picture size for" in refused.stderr
    assert "say it with --size WIDTHxHEIGHT" in refused.stderr
    first, *others = read_calibration(path).rig.names
    given = [argument for other in others for argument in ("--size", f"{other}=1280x720")]
    partly = run("calibration", "convert", str(path), str(tmp_path / "c.toml"), "--to", "anipose", *given)
    assert f"has no picture size for {first};" in partly.stderr
    for wrong in ("1280", "x720", "nobody=1280x720", "0x720"):
        answer = run("calibration", "convert", str(path), str(tmp_path / "c.toml"), "--to", "anipose", "--size", wrong)
        assert "expected WIDTHxHEIGHT, or CAMERA=WIDTHxHEIGHT with one of" in answer.stderr
    assert not (tmp_path / "c.toml").exists()


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_files_are_checked_and_converted(name: str, run: Run, data_folder: Path, tmp_path: Path) -> None:
    path = data_folder / "foreign" / name
    checked = run("calibration", "check", str(path))
    assert (checked.exit_code, WRONG.get(name, "cameras in") in checked.stdout) == (int(name in WRONG), True), checked.output
    calibration = read_calibration(path)
    sizes = ["--size", "1920x1080"] if calibration.guessed_sizes else []
    for to, ending in ENDINGS.items():
        converted = run("calibration", "convert", str(path), str(tmp_path / f"{to}{ending}"), "--to", to, *sizes)
        assert converted.exit_code == 0, converted.output
        same_place(calibration, tmp_path / f"{to}{ending}", to)


@pytest.mark.data
@pytest.mark.parametrize("name", REFUSED)
def test_real_files_that_are_none_are_refused(name: str, run: Run, data_folder: Path) -> None:
    refused = run("calibration", "check", str(data_folder / "foreign" / name))
    assert refused.exit_code == 1
    assert name in refused.stderr


def pictures_and_calibration(name: str, folder: Path) -> tuple[tuple[str, ...], Path, str]:
    """Folders of two cameras beside the file of a tool: names of the cameras, the file, and what is said of it."""
    write, format, unit = WRITTEN[name]
    (folder / "their").mkdir(parents=True)
    path = write(four_cameras(), folder / "their")
    names = read_calibration(path).rig.names
    for camera in names[:2]:
        (folder / camera).mkdir()
        for i in range(2):
            cv2.imwrite(str(folder / camera / f"img{i}.png"), np.zeros((720, 1280), np.uint8))
    return names[:2], path, f"calibration {path.name} ({format}): {len(names)} cameras in {unit}"


@pytest.mark.parametrize("name", WRITTEN)
def test_recordings_say_what_was_understood_of_files_of_other_tools(name: str, tmp_path: Path) -> None:
    cameras, path, said = pictures_and_calibration(name, tmp_path)
    views = {camera: {"source": str(tmp_path / camera)} for camera in cameras}
    entry = RecordingSettings.model_validate({"sequence": "run", "views": views, "calibration": str(path)})
    lines: list[str] = []
    _, rig = _recording(entry, Spec.model_validate({"schema_version": 1}), lines)
    assert rig is not None
    assert rig.names == cameras
    assert any(line.startswith(said) for line in lines), lines
    assert "looks wrong" not in str(lines)


@pytest.mark.ls
def test_init_says_what_it_understood_of_files_of_other_tools(platform: Platform, run: Run, tmp_path: Path) -> None:
    """By the command: one file with a unit and sizes, one of the child that reads MATLAB files, one in two parts."""
    for name in ("caliscope", "dannce folder", "stereo"):
        cameras, path, said = pictures_and_calibration(name, tmp_path / name)
        write_settings(tmp_path / "parallax.yaml", platform, tmp_path / name, cameras, path)
        answer = run("init", "--dry-run")
        assert answer.exit_code == 0, (name, answer.output)
        assert "dry run: nothing was changed" in answer.stdout
        assert said in answer.stdout, (name, answer.stdout)
        assert "looks wrong" not in answer.stdout


def write_settings(path: Path, platform: Platform, folder: Path, cameras: tuple[str, ...], calibration: Path) -> None:
    recording = {
        "sequence": "run",
        "views": {camera: {"source": str(folder / camera)} for camera in cameras},
        "calibration": str(calibration),
    }
    settings = {
        "label_studio": {"url": platform.url, "token": platform.token, "title": "foreign"},
        "store": f"sqlite:///{folder}/store.sqlite3",
        "documents_root": str(platform.documents.resolve()),
        "skeleton": {"name": "p", "keypoints": ["nose", "tail"]},
        "recordings": [recording],
    }
    path.write_text(json.dumps(settings), encoding="utf-8")


def test_the_target_of_the_rig_is_in_every_picture() -> None:
    """What the tests above project is seen, so that their equality says something."""
    seen = four_cameras().project(TARGET[None])[:, 0]
    assert ((seen > 0) & (seen < [1280, 720])).all()
