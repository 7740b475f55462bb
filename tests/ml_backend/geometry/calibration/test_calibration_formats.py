"""Every format, written from the definition of its convention and read back."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml_backend.geometry.calibration import convert_unit, read_calibration
from tests.foreign.calibrations import FORMATS, SIZELESS, anipose, dannce, easymocap, matrix, qualisys, rvec


@pytest.mark.parametrize("case", FORMATS)
def test_reading_gives_the_same_projection(case: Any, rig: Any, points: Any, tmp_path: Path) -> None:
    write, name, unit = FORMATS[case]
    calibration = read_calibration(write(rig, tmp_path))
    assert calibration.format == name
    assert calibration.rig.unit == unit
    assert calibration.rig.names == rig.names
    expected = rig.project(points)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(convert_unit(calibration.rig, "mm").project(points), expected, atol=1e-6)
    assert any("no picture size" in note for note in calibration.notes) == (case in SIZELESS)


@pytest.mark.parametrize("case", sorted(FORMATS.keys() - SIZELESS))
def test_reading_gives_the_size_of_the_pictures(case: str, rig: Any, tmp_path: Path) -> None:
    write, _, _ = FORMATS[case]
    assert read_calibration(write(rig, tmp_path)).rig.size_px.tolist() == [[1280, 720]] * 4


def test_stereo_pair_has_the_first_camera_as_world(rig: Any, points: Any, tmp_path: Path) -> None:
    a, b = rig.cameras[:2]
    R = b.R_cam_world @ a.R_cam_world.T
    t = b.t_cam_world - R @ a.t_cam_world
    path = tmp_path / "stereo.yml"
    path.write_text(
        f"%YAML:1.0\n---\nimage_width: 1280\nimage_height: 720\n"
        f"M1: {matrix(a.K)}D1: {matrix(a.dist)}M2: {matrix(b.K)}D2: {matrix(b.dist)}"
        f"R: {matrix(R)}T: {matrix(t)}R1: {matrix(np.diag([1.0, -1, -1]))}P1: {matrix(np.eye(3, 4))}"
    )
    calibration = read_calibration(path)
    assert calibration.rig.names == ("1", "2")
    in_first_camera = points @ a.R_cam_world.T + a.t_cam_world
    np.testing.assert_allclose(calibration.rig.project(in_first_camera), rig.project(points)[:2], atol=1e-6)
    assert any("camera '1' is the world" in note for note in calibration.notes)


def test_caliscope_tables_need_no_names_and_may_be_ignored(rig: Any, points: Any, tmp_path: Path) -> None:
    path = anipose(rig, tmp_path)
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("name"))
    path.write_text(text.replace("[cam_2]", "[cam_2]\nport = 2\nignore = true") + '\n[charuco]\ncolumns = 4\nunits = "cm"\n')
    calibration = read_calibration(path)
    assert calibration.rig.names == ("cam_0", "cam_1", "cam_3")
    np.testing.assert_allclose(calibration.rig.project(points), rig.project(points)[[0, 1, 3]], atol=1e-6)
    assert any("cam_2" in note and "ignore" in note for note in calibration.notes)


def test_anipose_fisheye_and_rotation_matrix(rig: Any, points: Any, tmp_path: Path) -> None:
    c = rig.cameras[0]
    path = tmp_path / "calibration.toml"
    path.write_text(
        f"[cam_0]\nname = 'a'\nsize = [1280, 720]\nmatrix = {c.K.tolist()}\n"
        f"distortions = [0.01, -0.002, 0.0, 0.0]\nfisheye = true\n"
        f"rotation = {c.R_cam_world.tolist()}\ntranslation = {c.t_cam_world.tolist()}\n"
    )
    camera = read_calibration(path).rig.cameras[0]
    assert camera.model == "fisheye"
    flat = points[None].astype(np.float64)
    expected, _ = cv2.fisheye.projectPoints(flat, rvec(c.R_cam_world), c.t_cam_world, c.K, np.array([0.01, -0.002, 0, 0]))
    np.testing.assert_allclose(camera.project(points), expected[0], atol=1e-6)


def test_qualisys_leaves_marker_cameras_out_and_says_so(rig: Any, tmp_path: Path) -> None:
    assert any("1 inactive or marker cameras left out" in note for note in read_calibration(qualisys(rig, tmp_path)).notes)


@pytest.mark.parametrize("model", ["Miqus Hybrid", "Miqus Video Color Plus", "Miqus Video Underwater", "none"])
def test_cameras_of_qualisys_that_record_pictures(model: Any, rig: Any, points: Any, tmp_path: Path) -> None:
    """Names as Qualisys' own real-time SDK has them, and of a file without names; a Hybrid records markers and pictures."""
    path = qualisys(rig, tmp_path, model=model)
    for text in (path.read_text(), path.read_text().replace(model, "Miqus Video", 1)):  # all of one model, and a mixed rig
        path.write_text(text)
        calibration = read_calibration(path)
        assert calibration.rig.names == rig.names
        assert any("1 inactive or marker cameras left out" in note for note in calibration.notes)
        np.testing.assert_allclose(calibration.rig.project(points), rig.project(points), atol=1e-6)


def test_easymocap_is_found_from_either_file(rig: Any, tmp_path: Path) -> None:
    easymocap(rig, tmp_path)
    assert read_calibration(tmp_path / "extri.yml").rig == read_calibration(tmp_path).rig


def test_sizes_can_be_given(rig: Any, tmp_path: Path) -> None:
    calibration = read_calibration(dannce(rig, tmp_path), sizes_px={"cam1": (1280, 720)})
    assert calibration.rig.cameras[1].size_px == (1280, 720)
    assert calibration.rig.cameras[0].size_px == (1262, 732)  # 2·630.25 + 1 and 2·365.5 + 1, rounded
    assert any("no picture size" in note and "cam1" not in note for note in calibration.notes)
