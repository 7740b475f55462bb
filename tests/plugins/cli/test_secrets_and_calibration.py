"""The backend's secret, and the calibration commands."""

from __future__ import annotations

import csv
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from label_config.settings.spec import load_spec
from label_config.values import BadInputError, FloatArray
from ml_backend.geometry.calibration import read_calibration, write_calibration
from ml_backend.geometry.cameras import Camera, Rig
from plugins.cli.commands.calibration import frame_numbers
from plugins.cli.secrets import ensure_secret, find_secret, secret_file
from tests.small_project import write_spec

Run = Callable[..., Result]
POINTS = np.array([[0.0, 0.0, 0.0], [200.0, 50.0, -100.0], [-150.0, 120.0, 80.0]])


def test_a_secret_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    spec = load_spec(write_spec(tmp_path))
    assert find_secret(spec) is None
    made = ensure_secret(spec)
    assert len(made) >= 40
    assert stat.S_IMODE(secret_file(spec).stat().st_mode) == 0o600
    assert ensure_secret(spec) == find_secret(spec) == made


def test_a_secret_of_the_user_is_used_and_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_SECRET", "mine")
    spec = load_spec(write_spec(tmp_path))
    assert ensure_secret(spec) == "mine"
    assert not secret_file(spec).exists()


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    spec = load_spec(write_spec(tmp_path))
    secret_file(spec).parent.mkdir()
    secret_file(spec).touch(0o644)
    assert find_secret(spec) is None
    assert ensure_secret(spec)
    assert stat.S_IMODE(secret_file(spec).stat().st_mode) == 0o600


def camera(name: str, angle_deg: float) -> Camera:
    """A camera two metres from the origin that looks at it."""
    angle = np.radians(angle_deg)
    centre = 2000.0 * np.array([np.sin(angle), 0.0, -np.cos(angle)])
    forward = -centre / np.linalg.norm(centre)
    down = np.array([0.0, 1.0, 0.0])
    rotation = np.stack([np.cross(down, forward), down, forward])
    intrinsics = np.array([[900.0, 0.0, 319.5], [0.0, 900.0, 239.5], [0.0, 0.0, 1.0]])
    return Camera(name, intrinsics, rotation, -rotation @ centre, np.zeros(5), size_px=(640, 480))


@pytest.fixture
def rig() -> Rig:
    return Rig(tuple(camera(name, angle) for name, angle in (("a", -40.0), ("b", 0.0), ("c", 50.0), ("d", 100.0))))


@pytest.fixture
def toml(rig: Rig, tmp_path: Path) -> Path:
    write_calibration(rig, tmp_path / "rig.toml", "anipose")
    return tmp_path / "rig.toml"


def write_points(folder: Path, rig: Rig, wrong: str | None = None) -> list[str]:
    """A DeepLabCut table per camera; the points of ``wrong`` are all too far to the right."""
    arguments = []
    for name, xy_px in zip(rig.names, np.swapaxes(_projected(rig), 0, 1), strict=True):
        path = folder / f"{name}.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["scorer", *["me"] * 6])
            rows.writerow(["bodyparts", *(part for part in ("p", "q", "r") for _ in range(2))])
            rows.writerow(["coords", *["x", "y"] * 3])
            for frame, points in enumerate(xy_px):
                shifted = points + (80.0, 0.0) if name == wrong else points
                rows.writerow([f"labeled-data/s/img{frame:03d}.png", *shifted.ravel().tolist()])
        arguments += ["--points", f"{name}={path}"]
    return arguments


def _projected(rig: Rig) -> FloatArray:
    moves = np.linspace(0.0, 1.0, 8)[:, None, None] * np.array([30.0, -20.0, 10.0])
    return np.asarray(rig.project(POINTS + moves))


def test_a_good_calibration(run: Run, toml: Path) -> None:
    result = run("calibration", "check", str(toml))
    assert result.exit_code == 0, result.output
    assert "anipose, 4 cameras in mm: a, b, c, d" in result.stdout
    assert "nothing looks wrong" in result.stdout


def test_points_name_the_camera_that_is_wrong(run: Run, toml: Path, rig: Rig, tmp_path: Path) -> None:
    assert run("calibration", "check", str(toml), *write_points(tmp_path, rig)).exit_code == 0
    result = run("calibration", "check", str(toml), *write_points(tmp_path, rig, wrong="c"))
    assert result.exit_code == 1
    assert "error: c: contradicts the others" in result.stdout


def test_points_need_cameras_of_the_calibration(run: Run, toml: Path, rig: Rig, tmp_path: Path) -> None:
    write_points(tmp_path, rig)
    for arguments in (["--points", f"z={tmp_path}/a.csv"], ["--points", str(tmp_path / "a.csv")]):
        result = run("calibration", "check", str(toml), *arguments)
        assert result.exit_code == 1
        assert "a, b, c, d" in result.stderr
    result = run("calibration", "check", str(toml), "--points", f"a={tmp_path}/a.csv")
    assert "at least two cameras" in result.stderr


def test_convert_keeps_the_numbers(run: Run, toml: Path, rig: Rig, tmp_path: Path) -> None:
    target = tmp_path / "opencv.yaml"
    result = run("calibration", "convert", str(toml), str(target), "--to", "opencv")
    assert result.exit_code == 0, result.output
    again = read_calibration(target).rig
    assert again.names == rig.names
    np.testing.assert_allclose(again.project(POINTS), rig.project(POINTS), atol=1e-6)
    assert run("calibration", "convert", str(toml), str(target), "--to", "opencv").exit_code == 1
    assert "can write" in run("calibration", "convert", str(toml), str(tmp_path / "x"), "--to", "nothing").stderr


def test_a_file_that_is_none(run: Run, tmp_path: Path) -> None:
    result = run("calibration", "check", str(tmp_path / "none.toml"))
    assert result.exit_code == 1
    assert "found nothing there" in result.stderr


def test_convert_says_what_it_assumed_and_changes_numbers_with_the_unit(run: Run, toml: Path, rig: Rig, tmp_path: Path) -> None:
    toml.write_text(toml.read_text().replace('unit = "mm"', ""))
    result = run("calibration", "convert", str(toml), str(tmp_path / "m.toml"), "--to", "pose2sim", "--unit", "cm")
    assert result.exit_code == 0, result.output
    assert "unit: cm, as given" in result.stdout
    assert "lengths in m (read as cm)" in result.stdout
    np.testing.assert_allclose(read_calibration(tmp_path / "m.toml").rig.cameras[0].centre, rig.cameras[0].centre / 100)
    assert "mm assumed" in run("calibration", "check", str(toml)).stdout


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["frame_0001_640x480.png", "frame_0007_640x480.png"], [1, 7]),
        (["img3_cam1.png", "img12_cam1.png"], [3, 12]),
        (["labeled-data/s2/img005.png"], [5]),
    ],
)
def test_the_number_that_varies_counts_the_frames(names: list[str], numbers: list[int]) -> None:
    assert frame_numbers(names, "a.csv") == numbers


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a1_b1.png", "a2_b2.png"], "more than one number varies"),
        (["a1.png", "a1.png"], "no number counts"),
        (["a1.png", "a2.png", "a1.jpg"], "no number counts"),
        (["nose.png", "tail.png"], "no number counts"),
        (["a1.png", "a1_2.png"], "do not have the same numbers"),
    ],
)
def test_names_that_do_not_count_frames_are_an_error(names: list[str], reason: str) -> None:
    with pytest.raises(BadInputError, match=reason):
        frame_numbers(names, "a.csv")


def test_how_many_frames_were_compared_is_said(run: Run, toml: Path, rig: Rig, tmp_path: Path) -> None:
    result = run("calibration", "check", str(toml), *write_points(tmp_path, rig))
    assert "points: 8 frames that 4 cameras have in common" in result.stdout
