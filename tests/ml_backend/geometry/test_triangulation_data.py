"""Triangulation and consistency on real recordings."""

from __future__ import annotations

import csv
import json
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat
from scipy.spatial.transform import Rotation

from label_config.values import FloatArray
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.geometry.consistency import multi_view_consistency
from ml_backend.geometry.diagnosis import camera_errors, frame_offsets, suspect_camera
from ml_backend.geometry.triangulation import triangulate_linear, triangulate_robust

pytestmark = pytest.mark.data


# --- eks/fly: nearly orthographic cameras, focal lengths of 20,000 to 136,000 px -----------------------------------------


@pytest.fixture(scope="module")
def fly_rig(data_folder: Path) -> Rig:
    tables = tomllib.loads((data_folder / "eks/fly/calibration.toml").read_text())
    cameras = [
        Camera(
            name=table["name"],
            K=np.array(table["matrix"]),
            R_cam_world=Rotation.from_rotvec(table["rotation"]).as_matrix(),
            t_cam_world=np.array(table["translation"]),
            dist=np.array(table["distortions"]),
            size_px=tuple(table["size"]),
        )
        for key, table in tables.items()
        if key.startswith("cam_")
    ]
    return Rig(tuple(cameras))


@pytest.fixture(scope="module")
def fly(data_folder: Path) -> tuple[list[str], FloatArray]:
    """Keypoint names and (3 models, 500, 3, 12, [x, y, likelihood])."""
    names: list[str] = []
    models = []
    for seed in range(3):
        views = []
        for camera in "ABC":
            path = next((data_folder / "eks/fly").glob(f"*Cam-{camera}_*rng={seed}.csv"))
            rows = list(csv.reader(path.read_text().splitlines()))
            names = rows[1][1::3]
            views.append(np.array(rows[3:], dtype=np.float64)[:, 1:].reshape(-1, 12, 3))
        models.append(np.stack(views, axis=1))
    return names, np.stack(models)


def test_fly_lenses_are_inverted_exactly(fly_rig: Rig, fly: tuple[list[str], FloatArray]) -> None:
    xy = fly[1][0, ..., :2]
    back = np.stack([c.distort(fly_rig.undistort(xy)[:, v]) for v, c in enumerate(fly_rig.cameras)], axis=1)
    assert np.abs(back - xy).max() < 1e-6


def test_fly_points_are_no_worse_than_their_documented_reprojection(fly_rig: Rig, fly: tuple[list[str], FloatArray]) -> None:
    # The recording's notes give a mean of 1.59 px (1.46 / 1.29 / 2.01 by camera) for a plain algebraic solution.
    residual = triangulate_robust(fly_rig, fly[1][0, ..., :2]).reprojection_px
    print("\nfly, model 0: mean", residual.mean(), "median", np.median(residual), "by camera", residual.mean(axis=(0, 2)))
    assert residual.mean() < 1.59
    assert np.median(residual) < 1.34


def test_fly_inconsistent_episode_is_at_the_top(fly_rig: Rig, fly: tuple[list[str], FloatArray]) -> None:
    names, models = fly
    residual = triangulate_robust(fly_rig, models[0, ..., :2]).reprojection_px
    l1b, episode = names.index("L1B"), slice(305, 321)
    spread = models[..., :2] - models[..., :2].mean(axis=0)
    terms = {
        "consistency": residual.mean(axis=1),
        "ensemble": np.sqrt((spread**2).sum(axis=-1).mean(axis=0)).mean(axis=1),
        "1 - likelihood": 1 - models[0, ..., 2].mean(axis=1),
    }
    print("\nL1B, frames 305-320 among all", residual[:, 0].size, "points; share ranked above it, %")
    share_above = {}
    for name, term in terms.items():
        share_above[name] = (term.ravel() > term[episode, l1b][:, None]).mean(axis=1)
        print(f"{name:>15}: worst {100 * share_above[name].max():6.2f}   mean {100 * share_above[name].mean():6.2f}")
    assert share_above["consistency"].max() < 0.003
    assert share_above["ensemble"].max() > 0.003

    largest = np.nanmax(residual, axis=1)  # (n, K) over the views
    top = np.argsort(-np.nanmax(largest, axis=1), kind="stable")[:3]
    assert ((top >= 305) & (top < 321)).all()
    assert (np.nanargmax(largest[top], axis=1) == l1b).all()
    assert np.isin(top, np.argsort(-multi_view_consistency(residual)[0])[:10]).all()


def test_fly_rig_has_no_wrong_camera_and_a_turned_one_is_named(fly_rig: Rig, fly: tuple[list[str], FloatArray]) -> None:
    xy = fly[1][0, ..., :2]
    assert suspect_camera(fly_rig, xy).camera is None
    cameras = list(fly_rig.cameras)
    turn = Rotation.from_rotvec([0.0, 0.0, np.radians(5)]).as_matrix()
    cameras[1] = replace(cameras[1], R_cam_world=turn @ cameras[1].R_cam_world, t_cam_world=turn @ cameras[1].t_cam_world)
    assert suspect_camera(Rig(tuple(cameras)), xy).camera == "Cam-B"


# --- dannce: labels placed in space by hand, stored with their exact projections --------------------------------------------


def dannce(path: Path) -> tuple[Rig, FloatArray, FloatArray]:
    content = loadmat(path, squeeze_me=True)
    cameras = []
    for number, raw in enumerate(content["params"]):
        p = {name: np.asarray(raw[name].item(), dtype=np.float64) for name in raw.dtype.names}
        radial, tangential = np.append(p["RDistort"], 0.0)[:3], p["TDistort"]
        dist = np.array([*radial[:2], *tangential, radial[2]])
        cameras.append(Camera(f"cam{number}", p["K"].T, p["r"].T, p["t"].ravel(), dist, "pinhole", (1152, 1024)))
    labels = content["labelData"]
    xyz = np.asarray(labels[0]["data_3d"].item(), dtype=np.float64).reshape(-1, 22, 3)
    xy = np.stack([np.asarray(label["data_2d"].item(), dtype=np.float64).reshape(-1, 22, 2) for label in labels], axis=1)
    return Rig(tuple(cameras)), xyz, xy


@pytest.mark.parametrize("mouse", [1, 2])
def test_dannce_labels_project_onto_their_pictures(data_folder: Path, mouse: int) -> None:
    rig, xyz, xy = dannce(data_folder / f"dannce_mouse_6cam/markerless_mouse_{mouse}/label3d_dannce.mat")
    error = np.linalg.norm(rig.project(xyz) - xy, axis=-1)
    assert np.nanmax(error) < 1e-6

    # The intrinsics have skew (of 1 to 10 px); without it the labels miss by 0.4 px, as software that ignores skew reports.
    straight = []
    for camera in rig.cameras:
        K = camera.K.copy()
        assert 0.5 < abs(K[0, 1]) < 20
        K[0, 1] = 0
        straight.append(replace(camera, K=K))
    without = np.linalg.norm(Rig(tuple(straight)).project(xyz) - xy, axis=-1)
    print(f"\nmouse {mouse}: mean error {np.nanmean(error):.1e} px; without skew {np.nanmean(without):.2f} px")
    assert 0.3 < np.nanmean(without) < 0.5


@pytest.mark.parametrize("mouse", [1, 2])
def test_dannce_points_come_back_from_their_projections(data_folder: Path, mouse: int) -> None:
    rig, xyz, xy = dannce(data_folder / f"dannce_mouse_6cam/markerless_mouse_{mouse}/label3d_dannce.mat")
    found = triangulate_robust(rig, xy)
    np.testing.assert_array_equal(np.isnan(found.xyz_world), np.isnan(xyz))
    assert np.nanmax(np.abs(found.xyz_world - xyz)) < 1e-6

    noisy = xy + np.random.default_rng(0).normal(size=xy.shape) * 2
    spoilt = np.random.default_rng(1).random(xy.shape[:3]) < 0.15
    noisy[spoilt] += np.random.default_rng(2).normal(size=(spoilt.sum(), 2)) * 100
    robust = triangulate_robust(rig, noisy)
    away = np.linalg.norm(noisy - xy, axis=-1) > 40
    assert (robust.inlier & away).sum() < 0.005 * np.isfinite(noisy).all(axis=-1).sum()
    assert np.nanmedian(np.linalg.norm(robust.xyz_world - xyz, axis=-1)) < 1.0


# --- pose2sim: four video cameras, detections with confidence, two people in the picture ------------------------------------


@pytest.fixture(scope="module")
def sports(data_folder: Path) -> tuple[Rig, FloatArray]:
    """Rig in metres and (100, 4, people, 25, [x, y, confidence]), NaN = no such person."""
    folder = data_folder / "pose2sim_single_4cam"
    cameras = []
    root = ET.fromstring((folder / "calibration/Calib.qca.txt").read_text())
    for element in root.iter("camera"):
        if element.find("intrinsic") is None:
            continue
        value = {name: _number(text) for part in element for name, text in part.attrib.items()}
        K = np.array([[value["focalLengthU"], 0, value["centerPointU"]], [0, value["focalLengthV"], value["centerPointV"]]]) / 64
        K[:, 2] -= (value["left"], value["top"])
        dist = [value[name] / 64 for name in _DISTORTIONS]
        R = np.array([[value[f"r{row}{column}"] for column in (1, 2, 3)] for row in (1, 2, 3)])
        t = -R @ np.array([value["x"], value["y"], value["z"]]) / 1000
        flip = np.diag([1.0, -1, -1])
        cameras.append(
            Camera(
                element.attrib["serial"], np.vstack((K, [0, 0, 1])), flip @ R, flip @ t, np.array(dist), "pinhole", (1088, 1920)
            )
        )
    rig = Rig(tuple(sorted(cameras, key=lambda camera: camera.name)), unit="m")
    folders = sorted(path for path in folder.rglob("*") if path.is_dir() and any(path.glob("*.json")))
    frames = [sorted(path.glob("*.json")) for path in folders]
    points = np.full((100, 4, 2, 25, 3), np.nan)
    for v, files in enumerate(frames):
        for f, path in enumerate(files[:100]):
            for person, found in enumerate(json.loads(path.read_text())["people"][:2]):
                points[f, v, person] = np.array(found["pose_keypoints_2d"]).reshape(25, 3)
    return rig, points


_DISTORTIONS = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2")


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _main_person(rig: Rig, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Per frame the combination of people with the least mean residual: points with confidence above 0.4, residual (n, V, K)."""
    xy = np.where(points[..., 2:] > 0.4, points[..., :2], np.nan)
    choices = [np.stack([xy[:, v, (c >> v) & 1] for v in range(4)], axis=1) for c in range(16)]
    residuals = [np.linalg.norm(rig.project(triangulate_linear(rig, choice)) - choice, axis=-1) for choice in choices]
    complete = [np.isfinite(choice).all(axis=-1).any(axis=-1).all(axis=-1) for choice in choices]
    means = [np.where(ok, _mean(r), np.inf) for r, ok in zip(residuals, complete, strict=True)]
    best, frame = np.argmin(means, axis=0), np.arange(len(points))
    return np.stack(choices)[best, frame], np.stack(residuals)[best, frame]


def _mean(residual: FloatArray) -> FloatArray:
    known = np.isfinite(residual)
    mean: FloatArray = np.where(known, residual, 0).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
    return mean


def test_sports_residuals_by_camera(sports: tuple[Rig, FloatArray]) -> None:
    # The recording's notes: mean 13.3 px, median 12.2; by camera 15.7 / 8.7 / 18.5 / 10.8, for an unweighted algebraic solution.
    rig, points = sports
    _, residual = _main_person(rig, points)
    by_camera = np.nanmean(residual, axis=(0, 2))
    print("\nsports: linear mean", np.nanmean(residual), "median", np.nanmedian(residual), "by camera", by_camera)
    np.testing.assert_allclose(by_camera, [15.7, 8.7, 18.5, 10.8], rtol=0.15)
    assert np.nanmean(residual) == pytest.approx(13.3, rel=0.1)


def test_sports_cameras_are_synchronised_and_none_is_wrong(sports: tuple[Rig, FloatArray]) -> None:
    rig, points = sports
    xy, _ = _main_person(rig, points)
    offsets = frame_offsets(rig, xy, 4)
    print("\nsports: best shifts", offsets.best, "cameras", camera_errors(rig, xy).round(1).tolist())
    assert offsets.offset.tolist() == [0, 0, 0, 0]
    assert suspect_camera(rig, xy).camera is None
    late = xy.copy()
    late[:, 1] = np.roll(late[:, 1], 8, axis=0)
    late[:8, 1] = np.nan
    assert frame_offsets(rig, late, 10).best[1] == 8
