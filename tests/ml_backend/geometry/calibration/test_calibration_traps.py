"""What goes wrong with calibration files in practice: found, said, and where it is certain put right."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from label_config.values import BadInputError
from ml_backend.geometry.calibration import READERS, WRITERS, read_calibration, write_calibration
from ml_backend.geometry.calibration.settle import MOST_CAMERAS
from ml_backend.geometry.cameras import Rig

WRITTEN = {"anipose": "c.toml", "pose2sim": "c.toml", "opencv": "c.yml"}


def panoptic_file(rig: Any, path: Any, **changes: Any) -> Any:
    cameras = []
    for i, c in enumerate(rig.cameras):
        entry = {"name": c.name, "resolution": [1280, 720], "K": c.K.tolist(), "distCoef": c.dist.tolist()}
        entry |= {"R": c.R_cam_world.tolist(), "t": c.t_cam_world.tolist()}
        entry |= {key: change(c, i) for key, change in changes.items()}
        cameras.append({key: value for key, value in entry.items() if value is not None})
    path.write_text(json.dumps({"cameras": cameras}))
    return path


def test_transposed_matrices_are_turned_in_a_format_that_has_them_upright(rig: Any, points: Any, tmp_path: Path) -> None:
    path = panoptic_file(rig, tmp_path / "c.json", K=lambda c, i: c.K.T.tolist(), R=lambda c, i: c.R_cam_world.T.tolist())
    calibration = read_calibration(path)
    np.testing.assert_allclose(calibration.rig.project(points), rig.project(points), atol=1e-6)
    assert "all cameras: K stored transposed: transposed" in calibration.notes
    assert "R stored transposed: transposed" in calibration.notes


@pytest.mark.parametrize(("field", "note"), [("K", "K stored transposed"), ("R", "R stored transposed")])
def test_only_one_of_the_two_transposed(field: Any, note: Any, rig: Any, points: Any, tmp_path: Path) -> None:
    attribute = {"K": "K", "R": "R_cam_world"}[field]
    path = panoptic_file(rig, tmp_path / "c.json", **{field: lambda c, i: getattr(c, attribute).T.tolist()})
    calibration = read_calibration(path)
    np.testing.assert_allclose(calibration.rig.project(points), rig.project(points), atol=1e-6)
    assert any(note in said for said in calibration.notes)
    assert any("only so do the cameras face a common point" in said for said in calibration.notes)


def test_upright_matrices_are_kept_in_a_format_that_has_them_transposed(rig: Any, points: Any, tmp_path: Path) -> None:
    params = np.empty((4, 1), dtype=object)
    for i, c in enumerate(rig.cameras):
        lens = {"RDistort": c.dist[[0, 1, 4]], "TDistort": c.dist[2:4]}
        params[i, 0] = {"K": c.K, "r": c.R_cam_world, "t": c.t_cam_world, **lens}
    savemat(tmp_path / "c.mat", {"params": params})
    calibration = read_calibration(tmp_path / "c.mat")
    np.testing.assert_allclose(calibration.rig.project(points), rig.project(points), atol=1e-6)
    assert "all cameras: K stored upright, unlike the format: kept" in calibration.notes
    assert calibration.rig.names == ("Camera1", "Camera2", "Camera3", "Camera4")  # the file names none


def test_jarvis_file_with_upright_matrices_says_so(rig: Any, points: Any, tmp_path: Path) -> None:
    for c in rig.cameras:
        values = {"intrinsicMatrix": c.K, "distortionCoefficients": c.dist[None], "R": c.R_cam_world, "T": c.t_cam_world[:, None]}
        storage = cv2.FileStorage(str(tmp_path / f"{c.name}.yaml"), cv2.FileStorage_WRITE)
        for key, value in values.items():
            storage.write(key, value)
        storage.release()
    calibration = read_calibration(tmp_path)
    assert calibration.format == "jarvis"
    assert "all cameras: K stored upright, unlike the format: kept" in calibration.notes
    np.testing.assert_allclose(calibration.rig.project(points), rig.project(points), atol=1e-6)


def test_cameras_that_look_at_the_origin_cannot_tell_a_transposed_rotation(rig: Any, tmp_path: Path) -> None:
    """R and Rᵀ then both let every camera look at the origin; the file is taken at its word and the notes say so."""
    centred = Rig(tuple(replace(c, t_cam_world=np.array([0, 0, 3000.0])) for c in rig.cameras))
    turns: tuple[Callable[[Any, int], list[list[float]]], ...] = (
        lambda c, i: c.R_cam_world.tolist(),
        lambda c, i: c.R_cam_world.T.tolist(),
    )
    for turn in turns:
        calibration = read_calibration(panoptic_file(centred, tmp_path / "c.json", R=turn))
        np.testing.assert_allclose(calibration.rig.cameras[0].R_cam_world, np.array(turn(centred.cameras[0], 0)), atol=1e-12)
        assert any("cannot be seen from the cameras' directions" in note for note in calibration.notes)


def test_mirrored_rotation_is_an_error(rig: Any, tmp_path: Path) -> None:
    path = panoptic_file(rig, tmp_path / "c.json", R=lambda c, i: (np.diag([1, 1, -1 if i == 2 else 1]) @ c.R_cam_world).tolist())
    with pytest.raises(BadInputError, match=r"c\.json: camera 'cam2'.*determinant \+1, got -1"):
        read_calibration(path)


def test_rotation_with_few_digits_is_rounded_back(rig: Any, points: Any, tmp_path: Path) -> None:
    path = panoptic_file(rig, tmp_path / "c.json", R=lambda c, i: np.round(c.R_cam_world, 4).tolist())
    calibration = read_calibration(path)
    np.testing.assert_allclose(calibration.rig.project(points), rig.project(points), atol=0.5)  # 5e-5 rad · 1400 px, three axes
    assert any("R rounded in the file" in note for note in calibration.notes)


def test_millimetres_in_a_format_of_metres(rig: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    write_calibration(rig, path, "pose2sim")
    assert read_calibration(path).rig.unit == "m"
    text = path.read_text()
    for c in rig.cameras:
        text = text.replace(json.dumps((c.t_cam_world / 1000).tolist()), json.dumps(c.t_cam_world.tolist()))
    path.write_text(text.replace('unit = "m"\n', ""))
    calibration = read_calibration(path)
    assert calibration.rig.unit == "mm"
    assert any("unit: mm, not the format's m" in note for note in calibration.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"K": lambda c, i: None}, "camera 'cam0': K: expected this key, got only name, resolution"),
        ({"R": lambda c, i: [[1, 2], [3, 4]]}, r"camera 'cam0': R: expected numbers of shape \(3, 3\) or \(3,\)"),
        ({"t": lambda c, i: "abc"}, "camera 'cam0': t: expected numbers, got str"),
        ({"t": lambda c, i: [0, float("nan"), 0]}, "camera 'cam0': t: expected finite numbers"),
        ({"K": lambda c, i: np.ones((3, 3)).tolist()}, r"camera 'cam0': K: expected a last row of \[0, 0, 1\]"),
        ({"R": lambda c, i: (2 * c.R_cam_world).tolist()}, "camera 'cam0': rotation: expected an orthonormal 3×3 matrix"),
        ({"distCoef": lambda c, i: [0.1] * 15}, "camera 'cam0': dist: expected at most 14 coefficients"),
        ({"resolution": lambda c, i: [0, 720]}, "camera 'cam0': resolution: expected positive whole width and height"),
        ({"name": lambda c, i: "same"}, "names must be unique"),
        ({"K": lambda c, i: (np.diag([-1, 1, 1]) @ c.K).tolist()}, "positive focal lengths"),
    ],
)
def test_errors_name_file_camera_key_expected_and_got(change: Any, message: Any, rig: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        read_calibration(panoptic_file(rig, tmp_path / "c.json", **change))
    assert str(caught.value).startswith(str(tmp_path / "c.json"))


def test_coefficients_of_odd_length_are_padded_or_trimmed_with_zeros(rig: Any, tmp_path: Path) -> None:
    path = panoptic_file(rig, tmp_path / "c.json", distCoef=lambda c, i: [[0.1], [0.1, 0.2, 0, 0, 0, 0], [], [0] * 20][i])
    dists = [camera.dist.tolist() for camera in read_calibration(path).rig.cameras]
    assert dists == [[0.1, 0, 0, 0], [0.1, 0.2, 0, 0], [], []]


def test_intrinsics_alone_are_not_enough(tmp_path: Path) -> None:
    text = "%YAML:1.0\n---\nimage_width: 640\ncamera_matrix: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n"
    (tmp_path / "camera.yml").write_text(text + "   data: [ 500., 0., 320., 0., 500., 240., 0., 0., 1. ]\n")
    with pytest.raises(BadInputError, match="camera 'camera': R: expected extrinsics"):
        read_calibration(tmp_path / "camera.yml")


def test_xml_bomb_and_external_entities_are_refused(tmp_path: Path) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    (tmp_path / "dtd.xml").write_text('<?xml version="1.0"?><!DOCTYPE calibration><calibration/>')
    with pytest.raises(BadInputError, match="document type"):
        read_calibration(tmp_path / "dtd.xml")
    for root in ("<opencv_storage>&b;</opencv_storage>", "<calibration>&b;</calibration>"):
        (tmp_path / "bomb.xml").write_text(bomb + root)
        with pytest.raises(BadInputError, match="document type or entities"):
            read_calibration(tmp_path / "bomb.xml")


def test_yaml_aliases_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bomb.yml").write_text("%YAML:1.0\n---\na: &a [1, 2]\nb: [*a, *a]\n")
    with pytest.raises(BadInputError, match="aliases are not allowed"):
        read_calibration(tmp_path / "bomb.yml")


def test_yaml_tags_execute_nothing(tmp_path: Path) -> None:
    (tmp_path / "evil.yml").write_text("%YAML:1.0\n---\nK: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(BadInputError, match="could not determine a constructor"):
        read_calibration(tmp_path / "evil.yml")


def test_large_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(BadInputError, match="at most 1,000,000 bytes"):
        read_calibration(tmp_path / "large.toml")


@pytest.mark.parametrize("format", sorted(WRITERS))
def test_more_cameras_than_anybody_has_are_refused(format: str, rig: Rig, tmp_path: Path) -> None:
    many = Rig(tuple(replace(rig.cameras[0], name=f"c{number}") for number in range(MOST_CAMERAS + 1)))
    path = tmp_path / "many"
    write_calibration(many, path, format)
    with pytest.raises(BadInputError, match=r"at most 1,000 (cameras|,000 bytes)"):
        read_calibration(path, format)


def test_matlab_73_says_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b" ") + b"\x89HDF\r\n")
    with pytest.raises(BadInputError, match="-v7"):
        read_calibration(tmp_path / "new.mat")


def test_unknown_things_say_what_is_known(rig: Any, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("hello: world\n= [")
    with pytest.raises(BadInputError, match="none of the formats that are read: anipose"):
        read_calibration(tmp_path / "x.txt")
    with pytest.raises(BadInputError, match="found nothing there"):
        read_calibration(tmp_path / "absent.toml")
    with pytest.raises(BadInputError, match="can read anipose, opencv, pose2sim, qualisys"):
        read_calibration(tmp_path / "x.txt", format="vicon")
    with pytest.raises(BadInputError, match="can write anipose, opencv, pose2sim; got 'dannce'"):
        write_calibration(rig, tmp_path / "x.mat", "dannce")


def only_bad_input(path: Any, format: Any = None) -> None:
    """Reading succeeds or raises BadInputError; anything else is a failure of the test."""
    with contextlib.suppress(BadInputError):
        read_calibration(path, format)


@pytest.mark.parametrize("format", WRITTEN)
def test_truncated_files_raise_bad_input_only(format: Any, rig: Any, tmp_path: Path) -> None:
    path = tmp_path / WRITTEN[format]
    write_calibration(rig, path, format)
    whole = path.read_bytes()
    for end in range(0, len(whole), 37):
        path.write_bytes(whole[:end])
        only_bad_input(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=300),
    start=st.sampled_from([b"", b"<", b"{", b"%YAML:1.0\n---\n", b"[cam_0]\n", b"MATLAB 5.0 MAT-file"]),
)
def test_garbage_raises_bad_input_only(data: Any, start: Any, tmp_path: Path) -> None:
    path = tmp_path / "garbage"
    path.write_bytes(start + data)
    only_bad_input(path)
    for format in READERS:
        only_bad_input(path, format)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), name=st.sampled_from(list(WRITTEN)))
def test_one_damaged_byte_raises_bad_input_only(position: Any, value: Any, name: Any, rig: Any, tmp_path: Path) -> None:
    path = tmp_path / WRITTEN[name]
    write_calibration(rig, path, name)
    raw = bytearray(path.read_bytes())
    raw[int(position * len(raw))] = value
    path.write_bytes(bytes(raw))
    only_bad_input(path, name)


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "{" * 20_000, "%YAML:1.0\n---\n" + "[" * 20_000, "<a>" * 20_000, "a = " + "[" * 20_000]
)
def test_deep_nesting_raises_bad_input_only(text: Any, tmp_path: Path) -> None:
    path = tmp_path / "deep"
    path.write_text(text)
    only_bad_input(path)
    for format in READERS:
        only_bad_input(path, format)
