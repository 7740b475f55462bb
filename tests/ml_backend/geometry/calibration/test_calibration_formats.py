"""Every format, written here from the definition of its convention and read back."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from ml_backend.geometry.calibration import convert_unit, read_calibration
from ml_backend.geometry.cameras import Rig


def rvec(R: np.ndarray) -> np.ndarray:
    return cv2.Rodrigues(R)[0].ravel()


def matrix(values: np.ndarray) -> str:
    """An OpenCV matrix in YAML."""
    values = np.atleast_2d(values)
    data = ", ".join(repr(float(x)) for x in values.ravel())
    return f"!!opencv-matrix\n   rows: {values.shape[0]}\n   cols: {values.shape[1]}\n   dt: d\n   data: [ {data} ]\n"


def xml_matrix(tag: str, values: np.ndarray) -> str:
    values = np.atleast_2d(values)
    data = " ".join(repr(float(x)) for x in values.ravel())
    shape = f"<rows>{values.shape[0]}</rows><cols>{values.shape[1]}</cols>"
    return f'<{tag} type_id="opencv-matrix">{shape}<dt>d</dt><data>\n{data}</data></{tag}>'


def anipose(rig: Rig, folder: Path) -> Path:
    blocks = [
        f'[cam_{i}]\nname = "{c.name}"\nsize = [ 1280, 720,]\nmatrix = {c.K.tolist()}\ndistortions = {c.dist.tolist()}\n'
        f"rotation = {rvec(c.R_cam_world).tolist()}\ntranslation = {c.t_cam_world.tolist()}\n"
        for i, c in enumerate(rig.cameras)
    ]
    path = folder / "calibration.toml"
    path.write_text("\n".join(blocks) + "\n[metadata]\nadjusted = true\nerror = 0.4\n")
    return path


def pose2sim(rig: Rig, folder: Path) -> Path:
    blocks = [
        f'[{c.name}]\nname = "{c.name}"\nsize = [ 1280.0, 720.0]\nmatrix = {c.K.tolist()}\ndistortions = {c.dist.tolist()}\n'
        f"rotation = {rvec(c.R_cam_world).tolist()}\ntranslation = {(c.t_cam_world / 1000).tolist()}\nfisheye = false\n"
        for c in rig.cameras
    ]
    path = folder / "Calib_board.toml"
    path.write_text("\n".join(blocks) + "\n[metadata]\nadjusted = false\nerror = 0.0\n")
    return path


def qualisys(rig: Rig, folder: Path, left: int = 16) -> Path:
    elements = []
    for c in rig.cameras:
        R = np.diag([1, -1, -1]) @ c.R_cam_world  # Qualisys: y up, looking along −z
        turned = (
            " ".join(f'r{i + 1}{j + 1}="{R[i, j]!r}"' for i in range(3) for j in range(3))
            .replace("np.float64(", "")
            .replace(")", "")
        )
        place = " ".join(f'{axis}="{float(value)!r}"' for axis, value in zip("xyz", c.centre, strict=True))
        k1, k2, p1, p2, k3 = (64 * c.dist).tolist()
        elements.append(
            f'<camera active="1" model="Miqus Video" serial="{c.name}" viewrotation="0">'
            f'<fov_video left="{left}" top="0" right="{left + 1279}" bottom="719"/><transform {turned} {place}/>'
            f'<intrinsic focalLengthU="{64 * c.K[0, 0]}" focalLengthV="{64 * c.K[1, 1]}" centerPointU="{64 * (c.K[0, 2] + left)}"'
            f' centerPointV="{64 * c.K[1, 2]}" radialDistortion1="{k1}" radialDistortion2="{k2}" radialDistortion3="{k3}"'
            f' tangentalDistortion1="{p1}" tangentalDistortion2="{p2}" skew="0"/></camera>'
        )
    marker_camera = '<camera active="1" model="Oqus" serial="m1"/>'
    path = folder / "session.qca.txt"
    path.write_text(f"<?xml version='1.0'?><calibration><cameras>{''.join(elements)}{marker_camera}</cameras></calibration>")
    return path


def panoptic(rig: Rig, folder: Path) -> Path:
    cameras = [
        {
            "name": c.name,
            "type": "hd",
            "resolution": [1280, 720],
            "K": c.K.tolist(),
            "distCoef": c.dist.tolist(),
            "R": c.R_cam_world.tolist(),
            "t": [[x / 10] for x in c.t_cam_world],
        }
        for c in rig.cameras
    ]
    path = folder / "calibration_160906.json"
    path.write_text(json.dumps({"calibDataSource": "x", "cameras": cameras}))
    return path


def dannce_struct(c) -> dict:
    k1, k2, p1, p2, k3 = c.dist
    radial, tangential = np.array([[k1, k2, k3]]), np.array([[p1, p2]])
    return {"K": c.K.T, "r": c.R_cam_world.T, "t": c.t_cam_world[None], "RDistort": radial, "TDistort": tangential}


def dannce(rig: Rig, folder: Path) -> Path:
    params, names = np.empty((len(rig), 1), dtype=object), np.empty((1, len(rig)), dtype=object)
    for i, c in enumerate(rig.cameras):
        params[i, 0], names[0, i] = dannce_struct(c), c.name
    path = folder / "label3d_dannce.mat"
    savemat(path, {"params": params, "camnames": names, "sync": np.zeros(3)})
    return path


def dannce_folder(rig: Rig, folder: Path) -> Path:
    for c in rig.cameras:
        savemat(folder / f"{c.name}_params.mat", dannce_struct(c))
    return folder


def easymocap(rig: Rig, folder: Path) -> Path:
    names = "names:\n" + "".join(f'   - "{c.name}"\n' for c in rig.cameras)
    intri = "".join(f"K_{c.name}: {matrix(c.K)}dist_{c.name}: {matrix(c.dist)}" for c in rig.cameras)
    extri = "".join(
        f"R_{c.name}: {matrix(rvec(c.R_cam_world)[:, None])}Rot_{c.name}: {matrix(c.R_cam_world)}"
        f"T_{c.name}: {matrix(c.t_cam_world[:, None] / 1000)}"
        for c in rig.cameras
    )
    (folder / "intri.yml").write_text(f"%YAML:1.0\n---\n{names}{intri}")
    (folder / "extri.yml").write_text(f"%YAML:1.0\n---\n{names}{extri}")
    return folder


def jarvis(rig: Rig, folder: Path) -> Path:
    for c in rig.cameras:
        (folder / f"{c.name}.yaml").write_text(
            f"%YAML:1.0\n---\nimage_width: 1280\nimage_height: 720\nintrinsicMatrix: {matrix(c.K.T)}"
            f"distortionCoefficients: {matrix(c.dist)}R: {matrix(c.R_cam_world.T)}T: {matrix(c.t_cam_world[:, None])}"
        )
    return folder


def opencv_nested(rig: Rig, folder: Path) -> Path:
    def indented(text: str) -> str:
        return text.replace("\n", "\n   ").rstrip(" ")

    blocks = [
        f"{c.name}:\n   "
        + indented(
            f"image_size: [ 1280, 720 ]\ncamera_matrix: {matrix(c.K)}dist_coeffs: {matrix(c.dist[:, None])}"
            f"R: {matrix(c.R_cam_world)}T: {matrix(c.t_cam_world)}"
        )
        for c in rig.cameras
    ]
    path = folder / "cameras.yaml"
    path.write_text("%YAML:1.0\n---\n" + "".join(blocks))
    return path


def opencv_flat(rig: Rig, folder: Path) -> Path:
    values = [
        f"K_{c.name}: {matrix(c.K)}D_{c.name}: {matrix(c.dist)}rvec_{c.name}: {matrix(rvec(c.R_cam_world))}"
        f"tvec_{c.name}: {matrix(c.t_cam_world)}image_width_{c.name}: 1280\nimage_height_{c.name}: 720\n"
        for c in rig.cameras
    ]
    path = folder / "all.yml"
    path.write_text("%YAML:1.0\n---\n" + "".join(values))
    return path


def opencv_xml(rig: Rig, folder: Path) -> Path:
    cameras = []
    for c in rig.cameras:
        values = {"cameraMatrix": c.K, "distCoeffs": c.dist, "R": c.R_cam_world, "T": c.t_cam_world[:, None]}
        size = "<image_width>1280</image_width><image_height>720</image_height>"
        matrices = "".join(xml_matrix(tag, value) for tag, value in values.items())
        cameras.append(f"<_><name>{c.name}</name>{size}{matrices}</_>")
    path = folder / "cameras.xml"
    path.write_text(f'<?xml version="1.0"?>\n<opencv_storage><cameras>{"".join(cameras)}</cameras></opencv_storage>')
    return path


def opencv_folder(rig: Rig, folder: Path) -> Path:
    for c in rig.cameras:
        (folder / f"{c.name}.yml").write_text(
            f"%YAML:1.0\n---\nimage_width: 1280\nimage_height: 720\ncamera_matrix: {matrix(c.K)}"
            f"distortion_coefficients: {matrix(c.dist[:, None])}rotation: {matrix(c.R_cam_world)}"
            f"translation: {matrix(c.t_cam_world)}"
        )
    return folder


FORMATS = {
    "anipose": (anipose, "anipose", "mm"),
    "pose2sim": (pose2sim, "pose2sim", "m"),
    "qualisys": (qualisys, "qualisys", "mm"),
    "panoptic": (panoptic, "panoptic", "cm"),
    "dannce": (dannce, "dannce", "mm"),
    "dannce folder": (dannce_folder, "dannce", "mm"),
    "easymocap": (easymocap, "easymocap", "m"),
    "jarvis": (jarvis, "jarvis", "mm"),
    "opencv nested": (opencv_nested, "opencv", "mm"),
    "opencv flat": (opencv_flat, "opencv", "mm"),
    "opencv xml": (opencv_xml, "opencv", "mm"),
    "opencv folder": (opencv_folder, "opencv", "mm"),
}
SIZELESS = {"dannce", "dannce folder", "easymocap"}


@pytest.mark.parametrize("case", FORMATS)
def test_reading_gives_the_same_projection(case, rig, points, tmp_path):
    write, name, unit = FORMATS[case]
    calibration = read_calibration(write(rig, tmp_path))
    assert calibration.format == name
    assert calibration.rig.unit == unit
    assert calibration.rig.names == rig.names
    expected = rig.project(points)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(convert_unit(calibration.rig, "mm").project(points), expected, atol=1e-6)
    if case in SIZELESS:
        assert any("no picture size" in note for note in calibration.notes)
    else:
        assert calibration.rig.size_px.tolist() == [[1280, 720]] * 4


def test_stereo_pair_has_the_first_camera_as_world(rig, points, tmp_path):
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


def test_caliscope_tables_need_no_names_and_may_be_ignored(rig, points, tmp_path):
    path = anipose(rig, tmp_path)
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("name"))
    path.write_text(text.replace("[cam_2]", "[cam_2]\nport = 2\nignore = true") + '\n[charuco]\ncolumns = 4\nunits = "cm"\n')
    calibration = read_calibration(path)
    assert calibration.rig.names == ("cam_0", "cam_1", "cam_3")
    np.testing.assert_allclose(calibration.rig.project(points), rig.project(points)[[0, 1, 3]], atol=1e-6)
    assert any("cam_2" in note and "ignore" in note for note in calibration.notes)


def test_anipose_fisheye_and_rotation_matrix(rig, points, tmp_path):
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


def test_qualisys_leaves_marker_cameras_out_and_says_so(rig, tmp_path):
    assert any("1 inactive or marker cameras left out" in note for note in read_calibration(qualisys(rig, tmp_path)).notes)


def test_easymocap_is_found_from_either_file(rig, tmp_path):
    easymocap(rig, tmp_path)
    assert read_calibration(tmp_path / "extri.yml").rig == read_calibration(tmp_path).rig


def test_sizes_can_be_given(rig, tmp_path):
    calibration = read_calibration(dannce(rig, tmp_path), sizes_px={"cam1": (1280, 720)})
    assert calibration.rig.cameras[1].size_px == (1280, 720)
    assert calibration.rig.cameras[0].size_px == (1262, 732)  # 2·630.25 + 1 and 2·365.5 + 1, rounded
    assert any("no picture size" in note and "cam1" not in note for note in calibration.notes)
