"""Calibrations as other tools write them, each from the public definition of its convention.

anipose, freemocap  aniposelib ``CameraGroup.dump``: rotation vectors world → camera, unit of the board
Pose2Sim            ``Calib_*.toml`` of its ``calibration.py``: the same in metres, with ``fisheye``
Qualisys            ``.qca.txt`` of QTM: 64 sub-pixels, camera axes y up and z backwards, millimetres
Panoptic            ``calibration_*.json`` of CMU's toolbox: centimetres
DANNCE, Label3D     MATLAB cells with row-vector matrices, millimetres
EasyMocap           ``intri.yml`` and ``extri.yml`` of its ``write_camera``: metres
JARVIS              one YAML per camera with transposed matrices, millimetres
OpenCV              ``cv2.FileStorage``: maps, flat keys, XML, one file per camera, the sample ``stereo_calib``
Kalibr              ``camchain.yaml``: poses relative to the IMU, metres
MC-Calib            ``calibrated_cameras_data.yml``: poses camera → world
caliscope           ``camera_array.toml``: tables ``cameras.N`` or ``cam_N``, metres
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import savemat

from label_config.values import FloatArray
from ml_backend.geometry.cameras import Camera, Rig

TARGET = np.array([1500.0, -900.0, 800.0])


def four_cameras() -> Rig:
    """Four different cameras at different heights around a point that is not the origin, in millimetres."""
    cameras = []
    for v, angle in enumerate((0.0, 1.1, 2.6, 4.0)):
        outwards = np.array([3000 * np.cos(angle), 3000 * np.sin(angle), 1200 + 300 * v])
        position = TARGET + outwards
        forward = -outwards / np.linalg.norm(outwards)
        right = np.cross(forward, [0, 0, 1])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        K = np.array([[1400.0 + 10 * v, 0, 630.25 + v], [0, 1390.0, 365.5 - 2 * v], [0, 0, 1]])
        dist = np.array([-0.12 + 0.01 * v, 0.03, 0.001, -0.0007, 0.002])
        cameras.append(Camera(f"cam{v}", K, R, -R @ position, dist, size_px=(1280, 720)))
    return Rig(tuple(cameras), "mm")


def rvec(R: FloatArray) -> FloatArray:
    return np.asarray(cv2.Rodrigues(R)[0], dtype=np.float64).ravel()


def matrix(values: FloatArray) -> str:
    """An OpenCV matrix in YAML."""
    values = np.atleast_2d(values)
    data = ", ".join(repr(float(x)) for x in values.ravel())
    return f"!!opencv-matrix\n   rows: {values.shape[0]}\n   cols: {values.shape[1]}\n   dt: d\n   data: [ {data} ]\n"


def xml_matrix(tag: str, values: FloatArray) -> str:
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


def qualisys(rig: Rig, folder: Path, left: int = 16, model: str = "Miqus Video") -> Path:
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
            f'<camera active="1" model="{model}" serial="{c.name}" viewrotation="0">'
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


def dannce_struct(c: Any) -> dict[str, FloatArray]:
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


def kalibr(rig: Rig, model: str = "radtan", imu: str = "T_cam_imu") -> str:
    blocks = []
    for i, c in enumerate(rig.cameras):
        pose = np.vstack((np.column_stack((c.R_cam_world, c.t_cam_world / 1000)), [0, 0, 0, 1]))
        stored = {"T_cam_imu": pose, "T_imu_cam": np.linalg.inv(pose)}[imu]
        rows = "\n".join(f"  - {row}" for row in stored.tolist())
        values = [c.K[0, 0], c.K[1, 1], c.K[0, 2], c.K[1, 2]]
        blocks.append(
            f"cam{i}:\n  {imu}:\n{rows}\n  camera_model: pinhole\n  distortion_coeffs: {c.dist[:4].tolist()}\n"
            f"  distortion_model: {model}\n  intrinsics: {[float(value) for value in values]}\n  resolution: [1280, 720]\n"
            f"  rostopic: /cam{i}/image_raw\n"
        )
    return "".join(blocks)


def mc_calib(rig: Rig, path: Any) -> None:
    storage = cv2.FileStorage(str(path), cv2.FileStorage_WRITE)
    storage.write("nb_camera", len(rig))
    for i, c in enumerate(rig.cameras):
        storage.startWriteStruct(f"camera_{i}", cv2.FileNode_MAP)
        storage.write("camera_matrix", c.K)
        storage.write("distortion_vector", c.dist.reshape(1, -1))
        for key, value in (("distortion_type", 0), ("camera_group", 0), ("img_width", 1280), ("img_height", 720)):
            storage.write(key, value)
        pose = np.vstack((np.column_stack((c.R_cam_world, c.t_cam_world / 1000)), [0, 0, 0, 1]))
        storage.write("camera_pose_matrix", np.linalg.inv(pose))
        storage.endWriteStruct()
    storage.release()


def caliscope(rig: Rig, header: str) -> str:
    blocks = [f"[{header}9]\ncam_id = 9\nignore = true\nsize = [1280, 720]\n"]
    blocks.append(f"[{header}8]\ncam_id = 8\nsize = [1280, 720]\nmatrix = {rig.cameras[0].K.tolist()}\nrotation = 'null'\n")
    for i, c in enumerate(rig.cameras):
        vector = cv2.Rodrigues(c.R_cam_world)[0].ravel().tolist()
        blocks.append(
            f"[{header}{i}]\ncam_id = {i}\nexposure = 'null'\nsize = [1280, 720]\nmatrix = {c.K.tolist()}\nrotation = {vector}\n"
            f"distortions = {c.dist.tolist()}\ntranslation = {(c.t_cam_world / 1000).tolist()}\n"
        )
    return "\n".join(blocks)


def stereo(rig: Rig, folder: Any) -> None:
    a, b = rig.cameras[:2]
    R = b.R_cam_world @ a.R_cam_world.T
    files = {
        "intrinsics.yml": {"M1": a.K, "D1": a.dist[None], "M2": b.K, "D2": b.dist[None]},
        "extrinsics.yml": {"R": R, "T": (b.t_cam_world - R @ a.t_cam_world)[:, None], "R1": np.eye(3), "R2": np.eye(3)},
    }
    for name, values in files.items():
        storage = cv2.FileStorage(str(folder / name), cv2.FileStorage_WRITE)
        for key, value in values.items():
            storage.write(key, value)
        storage.release()


def kalibr_file(rig: Rig, folder: Path) -> Path:
    path = folder / "camchain-imucam.yaml"
    path.write_text(kalibr(rig))
    return path


def mc_calib_file(rig: Rig, folder: Path) -> Path:
    mc_calib(rig, folder / "calibrated_cameras_data.yml")
    return folder / "calibrated_cameras_data.yml"


def caliscope_file(rig: Rig, folder: Path) -> Path:
    (folder / "camera_array.toml").write_text(caliscope(rig, "cameras."))
    return folder / "camera_array.toml"


def label3d(rig: Rig, folder: Path) -> Path:
    params = np.empty((len(rig), 1), dtype=object)
    for i, c in enumerate(rig.cameras):
        params[i, 0] = dannce_struct(c)
    savemat(folder / "session.mat", {"camParams": params, "imageSize": np.array([[720, 1280]] * len(rig))})
    return folder / "session.mat"


def stereo_pair(rig: Rig, folder: Path) -> Path:
    stereo(rig, folder)
    return folder / "extrinsics.yml"


#: Name → writer of a rig in millimetres into a folder; the name that the reader gives the format; the unit of the file.
FORMATS: dict[str, tuple[Callable[[Rig, Path], Path], str, str]] = {
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
#: The same of files with names or lenses of their own.
MORE: dict[str, tuple[Callable[[Rig, Path], Path], str, str]] = {
    "kalibr": (kalibr_file, "kalibr", "m"),
    "mc-calib": (mc_calib_file, "mc-calib", "m"),
    "caliscope": (caliscope_file, "caliscope", "m"),
    "label3d": (label3d, "dannce", "mm"),
    "stereo": (stereo_pair, "opencv", "mm"),
}
#: Files that say no picture size.
SIZELESS = {"dannce", "dannce folder", "easymocap", "stereo"}
