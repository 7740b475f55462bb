"""Files of other tools, written here from their public definitions, and real ones; read, or refused with the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.geometry.calibration import convert_unit, read_calibration, rig_of_views, same_unit, write_calibration
from ml_backend.geometry.cameras import Rig
from tests.foreign.calibrations import caliscope, kalibr, label3d, mc_calib, stereo


@pytest.mark.parametrize("header", ["cameras.", "cam_"])
def test_caliscope_is_in_metres_and_leaves_out_what_is_not_placed(header: Any, rig: Any, points: Any, tmp_path: Path) -> None:
    (tmp_path / "camera_array.toml").write_text(caliscope(rig, header))
    calibration = read_calibration(tmp_path)
    assert (calibration.format, calibration.rig.unit) == ("caliscope", "m")
    assert calibration.rig.names == ("cam_0", "cam_1", "cam_2", "cam_3")
    np.testing.assert_allclose(calibration.rig.project(points / 1000), rig.project(points), atol=1e-6)
    assert any("cam_9" in note and "ignore" in note for note in calibration.notes)
    assert any("cam_8" in note and "no place" in note for note in calibration.notes)


@pytest.mark.parametrize("imu", ["T_cam_imu", "T_imu_cam"])
def test_kalibr_chain_with_an_imu(imu: Any, rig: Any, points: Any, tmp_path: Path) -> None:
    short = Rig(tuple(replace(c, dist=c.dist[:4]) for c in rig.cameras))
    (tmp_path / "camchain.yaml").write_text(kalibr(short, imu=imu))
    calibration = read_calibration(tmp_path / "camchain.yaml")
    assert (calibration.format, calibration.rig.unit) == ("kalibr", "m")
    np.testing.assert_allclose(calibration.rig.project(points / 1000), short.project(points), atol=1e-5)


def test_kalibr_equidistant_is_a_fisheye_and_other_models_are_refused(rig: Any, tmp_path: Path) -> None:
    path = tmp_path / "camchain.yaml"
    path.write_text(kalibr(rig, "equidistant"))
    assert read_calibration(path).rig.cameras[0].model == "fisheye"
    for text in (kalibr(rig, "fov"), kalibr(rig).replace("camera_model: pinhole", "camera_model: omni")):
        path.write_text(text)
        with pytest.raises(BadInputError, match=r"camchain\.yaml: camera 'cam0': (distortion_model|camera_model): expected"):
            read_calibration(path)


def test_mc_calib_poses_lead_from_the_camera_to_the_world(rig: Any, points: Any, tmp_path: Path) -> None:
    mc_calib(rig, tmp_path / "calibrated_cameras_data.yml")
    calibration = read_calibration(tmp_path / "calibrated_cameras_data.yml")
    assert calibration.format == "mc-calib"
    np.testing.assert_allclose(calibration.rig.project(points / 1000), rig.project(points), atol=1e-5)


@pytest.mark.parametrize("name", ["", "intrinsics.yml", "extrinsics.yml"])
def test_a_stereo_pair_in_two_files(name: Any, rig: Any, points: Any, tmp_path: Path) -> None:
    stereo(rig, tmp_path)
    calibration = read_calibration(tmp_path / name)
    a = rig.cameras[0]
    np.testing.assert_allclose(
        calibration.rig.project(points @ a.R_cam_world.T + a.t_cam_world), rig.project(points)[:2], atol=1e-6
    )
    assert calibration.guessed_sizes == {"1", "2"}


@pytest.mark.parametrize("model", ["equidistant", "kannala_brandt", "equi", "fisheye"])
def test_names_of_the_fisheye(model: Any, rig: Any, tmp_path: Path) -> None:
    write_calibration(rig, tmp_path / "c.yml", "opencv")
    text = (tmp_path / "c.yml").read_text().replace("distortion_model: pinhole", f"distortion_model: {model}")
    with pytest.raises(BadInputError, match="at most 4 coefficients of a fisheye lens"):
        (tmp_path / "c.yml").write_text(text) and read_calibration(tmp_path / "c.yml")


@pytest.mark.parametrize("key", ["distortion_coeffs", "dist_coeff", "distortion_vector"])
def test_names_of_the_coefficients(key: Any, rig: Any, points: Any, tmp_path: Path) -> None:
    write_calibration(rig, tmp_path / "c.yml", "opencv")
    text = (tmp_path / "c.yml").read_text().replace("distortion_coefficients", key)
    (tmp_path / "c.yml").write_text(text)
    np.testing.assert_allclose(read_calibration(tmp_path / "c.yml").rig.project(points), rig.project(points), atol=1e-6)


@pytest.mark.parametrize(
    ("format", "name", "old", "new"),
    [
        ("opencv", "c.yml", "distortion_coefficients", "lens_polynomial"),
        ("opencv", "c.yml", "distortion_model: pinhole", "distortion_model: double_sphere"),
        ("anipose", "c.toml", "distortions", "distortion_coefs"),
        ("pose2sim", "c.toml", "fisheye = false", 'fisheye = "yes"'),
    ],
)
def test_an_unknown_lens_is_refused_and_not_left_out(
    format: Any, name: Any, old: Any, new: Any, rig: Any, tmp_path: Path
) -> None:
    write_calibration(rig, tmp_path / name, format)
    (tmp_path / name).write_text((tmp_path / name).read_text().replace(old, new))
    with pytest.raises(BadInputError, match=r"c\.(yml|toml)"):
        read_calibration(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.xcp", "<Cameras/>", "Vicon"),
        ("a.cal", "x", "OptiTrack"),
        ("a.pickle", "x", "a pickle can run any program"),
        ("a.xml", "<Cameras/>", "neither OpenCV's"),
        ("a.json", '{"0": {"R": 1}}', "not Panoptic's"),
        ("a.json", '[{"id": 1}]', "not Panoptic's"),
        ("a.toml", "[charuco]\ncolumns = 4\n", "no table of it describes a camera"),
        ("a.yaml", "camera_matrix:\n  rows: 3\ndistortion_model: plumb_bob\n", "ROS camera_info holds intrinsics only"),
    ],
)
def test_what_is_not_read_says_why_and_what_is(name: Any, text: Any, reason: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInputError, match=reason):
        read_calibration(tmp_path / name)


def test_a_folder_with_other_files_in_it(rig: Any, points: Any, tmp_path: Path) -> None:
    write_calibration(rig, tmp_path / "calibration.toml", "anipose")
    (tmp_path / "notes.txt").write_text("calibrated on Monday")
    (tmp_path / "config.toml").write_text("[charuco]\ncolumns = 4\n")
    (tmp_path / "._calibration.toml").write_bytes(b"\x00\x05\x16\x07")
    np.testing.assert_allclose(read_calibration(tmp_path).rig.project(points), rig.project(points), atol=1e-6)
    write_calibration(rig, tmp_path / "other.toml", "pose2sim")
    with pytest.raises(BadInputError, match=r"calibration\.toml \(anipose\), other\.toml \(pose2sim\); name the file"):
        read_calibration(tmp_path)


def test_label3d_session(rig: Any, points: Any, tmp_path: Path) -> None:
    calibration = read_calibration(label3d(rig, tmp_path))
    np.testing.assert_allclose(calibration.rig.project(points), rig.project(points), atol=1e-6)
    assert calibration.rig.size_px.tolist() == [[1280, 720]] * 4


# Units


@pytest.mark.parametrize("format", ["anipose", "opencv"])
@pytest.mark.parametrize("unit", ["m", "cm", "mm"])
def test_a_written_unit_is_read_back(format: Any, unit: Any, rig: Any, tmp_path: Path) -> None:
    path = tmp_path / {"anipose": "c.toml", "opencv": "c.yml"}[format]
    write_calibration(convert_unit(rig, unit), path, format)
    calibration = read_calibration(path)
    assert (calibration.format, calibration.rig.unit, calibration.unit_stated) == (format, unit, True)
    np.testing.assert_allclose(convert_unit(calibration.rig, "mm").cameras[1].centre, rig.cameras[1].centre)


def test_our_anipose_files_are_not_taken_for_pose2sims(rig: Any, tmp_path: Path) -> None:
    """Cameras called like the tables: cam_0 …; a fisheye flag would have made it Pose2Sim's, and millimetres metres."""
    fisheye = [replace(c, name=f"cam_{i}", dist=np.zeros(4), model="fisheye") for i, c in enumerate(rig.cameras)]
    for cameras in ([replace(c, name=f"cam_{i}") for i, c in enumerate(rig.cameras)], fisheye):
        write_calibration(Rig(tuple(cameras), "mm"), tmp_path / "c.toml", "anipose")
        calibration = read_calibration(tmp_path / "c.toml")
        assert (calibration.format, calibration.rig.unit) == ("anipose", "mm")


@pytest.mark.parametrize(("factor", "unit"), [(1, "mm"), (1e-3, "m"), (0.25e-3, "m")])
def test_an_unstated_unit_must_be_plausible(factor: Any, unit: Any, rig: Any, tmp_path: Path) -> None:
    small = Rig(tuple(replace(c, t_cam_world=factor * c.t_cam_world) for c in rig.cameras))
    write_calibration(small, tmp_path / "c.toml", "anipose")
    (tmp_path / "c.toml").write_text((tmp_path / "c.toml").read_text().replace('unit = "mm"', ""))
    calibration = read_calibration(tmp_path / "c.toml")
    assert calibration.rig.unit == unit
    assert any(f"unit: not in the file, {unit} assumed" in note for note in calibration.notes)
    given = read_calibration(tmp_path / "c.toml", unit="cm")
    assert given.rig.unit == "cm"
    np.testing.assert_array_equal(given.rig.cameras[0].t_cam_world, small.cameras[0].t_cam_world)


def test_a_unit_against_the_files_own_is_a_contradiction(rig: Any, tmp_path: Path) -> None:
    write_calibration(rig, tmp_path / "c.toml", "anipose")
    with pytest.raises(BadInputError, match="unit: expected m, as given, got mm in the file"):
        read_calibration(tmp_path / "c.toml", unit="m")


def test_rigs_of_one_project_share_a_unit(rig: Any, points: Any) -> None:
    first, second = same_unit([convert_unit(rig, "m"), rig])
    assert (first.unit, second.unit) == ("m", "m")
    np.testing.assert_allclose(second.project(points / 1000), rig.project(points), atol=1e-6)


# Sizes


def test_a_guessed_size_is_the_sources_and_never_compared(rig: Any, tmp_path: Path) -> None:
    stereo(rig, tmp_path)
    calibration = read_calibration(tmp_path)
    found, notes = rig_of_views(calibration, ["2", "1"], {"1": (1280, 720), "2": (1280, 720)})
    assert found.size_px.tolist() == [[1280, 720]] * 2
    assert all("taken from the source" in note for note in notes)
    with pytest.raises(BadInputError, match=r"view '1': .* does not fit pictures of 640 × 360"):
        rig_of_views(calibration, ["1"], {"1": (640, 360)})


def test_exchanged_width_and_height_are_found_by_the_principal_point(rig: Any) -> None:
    from ml_backend.geometry.calibration import Calibration

    tall = Rig(tuple(replace(c, size_px=(720, 1280)) for c in rig.cameras))
    found, notes = rig_of_views(Calibration(tall, "x"), ["cam1"], {"cam1": (1280, 720)})
    assert found.cameras[0].size_px == (1280, 720)
    assert "exchanged" in notes[0]
    upright, nothing = rig_of_views(Calibration(rig, "x"), ["cam1"], {"cam1": (720, 1280)})
    assert (upright.cameras[0].size_px, nothing) == ((1280, 720), []), "the file is right; a view that is turned says so itself"


# Real files


REAL = {
    "caliscope/base_data/camera_array.toml": ("caliscope", "m", 0, (0.598785, 0.637836, 0.567709)),
    "caliscope/base_data/config.toml": ("caliscope", "m", 0, (0.598785, 0.637836, 0.567709)),
    "caliscope/post_monocal/camera_array.toml": ("caliscope", "m", 0, (0.095538, 0.317398, 1.574491)),
    "caliscope/capture_volume_pre_quality_control/camera_array.toml": ("caliscope", "m", 0, (2.905893, -0.144981, 2.488802)),
    "freemocap/previous_calibration.toml": ("anipose", "mm", 1, (-1151.402976, -223.992308, 274.125486)),
    "freemocap/freemocap_test_data_camera_calibration.toml": ("anipose", "mm", 1, (1407.341213, -765.068432, 2170.473203)),
    "freemocap/uwupose_calibration.toml": ("anipose", "mm", 1, (-1642.753744, -1270.757701, 1696.857545)),
    "aniposelib/calib_motobs_7cam.toml": ("anipose", "mm", 1, (-81.917336, 114.200284, 1418.007329)),
    "aniposelib/mouse-outdoor": ("anipose", "m", 0, (-0.19715, -0.040394, -0.083491)),
    "anipose/ambiguousmonkey_calibration.toml": ("anipose", "mm", 1, (-369.14449, -88.581079, 197.798594)),
    "pose2sim/Calib_qualisys.toml": ("pose2sim", "m", 0, (1.460232, -1.909159, 1.896506)),
    "pose2sim/Calib_scene.toml": ("pose2sim", "m", 0, (1.475305, -1.960342, 1.892222)),
    "qualisys/Demo_SinglePerson_Calib.qca.txt": ("qualisys", "mm", 0, (1460.232, -1909.159, 1896.506)),
    "easymocap/trackmesh": ("easymocap", "m", 0, (-2.575099, -0.491703, 2.250546)),
    "opencv/stereo": ("opencv", "m", 1, (3.342863, -0.030666, 0.015241)),
    "mc-calib/synth_Scenario1_calibrated_cameras_data.yml": ("mc-calib", "m", 1, (-0.699948, 0.00001, -0.000445)),
    "mc-calib/synth_Scenario3_calibrated_cameras_data.yml": ("mc-calib", "m", 2, (-0.249895, 0.000046, -0.24839)),
    "kalibr/euroc_kalibr_imucam_chain.yaml": ("kalibr", "m", 0, (-0.02164, -0.064677, 0.009811)),
    "dannce/label3d_voltest_dannce_m1.mat": ("dannce", "mm", 0, (-199.47735, -129.33711, 63.44311)),
    "label3d/labels1.mat": ("dannce", "mm", 0, (-199.47735, -129.33711, 63.44311)),
    "panoptic_body3d/160906_band1/calibration_160906_band1.json": ("panoptic", "cm", 0, (-20.0535, -165.188, -274.842)),
}
REFUSED = {
    "campus/calibration_campus.json": "not Panoptic's",
    "campus/actorsGT.mat": "a file with actor3D",
    "label3d/mouse22.mat": "a file with .*joint_names",
    "panoptic_body3d/160906_band1/hdPose3d_stage1_coco19/body3DScene_00000168.json": "not Panoptic's",
    "kalibr/camchain-camera.yaml": "intrinsics alone place no camera",
    "ros/depthai_rgb.yaml": "ROS camera_info",
    "opencv/samples/left_intrinsics.yml": "expected extrinsics",
    "easymocap/examples/intri.yml": "expected extrinsics",
    "jarvis/Extrinsics/Extrinsics_Camera_T_Camera_B.yaml": "expected the intrinsics",
}


@pytest.mark.data
@pytest.mark.parametrize("file", REAL)
def test_real_files_have_their_cameras_where_their_tools_say(file: Any, data_folder: Any) -> None:
    format, unit, position, centre = REAL[file]
    calibration = read_calibration(data_folder / "foreign" / file)
    assert (calibration.format, calibration.rig.unit) == (format, unit)
    np.testing.assert_allclose(calibration.rig.cameras[position].centre, centre, rtol=2e-4, atol=2e-4)


@pytest.mark.data
@pytest.mark.parametrize("file", REFUSED)
def test_real_files_that_place_no_camera_are_refused(file: Any, data_folder: Any) -> None:
    with pytest.raises(BadInputError, match=REFUSED[file]):
        read_calibration(data_folder / "foreign" / file)


@pytest.mark.data
def test_panoptic_bodies_project_where_opencv_projects_them(data_folder: Any) -> None:
    """SOURCE.md: body 0, joint 0 of frame 169 → pixel (1209.4055, 599.0289) of camera 00_00."""
    rig = read_calibration(data_folder / "foreign/panoptic_body3d/160906_band1").rig
    here = rig.subset(["00_00"]).project(np.array([[124.147, -105.973, -30.3072]]))
    np.testing.assert_allclose(here[0, 0], (1209.4055, 599.0289), atol=1e-3)


def test_json_keys_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"version": 1, "bodies": []}))
    with pytest.raises(BadInputError, match='got "version", "bodies"'):
        read_calibration(tmp_path / "a.json")
