from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from label_config.values import FloatArray
from ml_backend.geometry.calibration.check import check_rig
from ml_backend.geometry.calibration.check_points import check_points
from ml_backend.geometry.cameras import Rig


def with_camera(rig: Rig, position: int, **changes: Any) -> Rig:
    cameras = list(rig.cameras)
    cameras[position] = replace(cameras[position], **changes)
    return Rig(tuple(cameras), rig.unit)


def test_a_good_rig_has_no_findings(rig: Any) -> None:
    assert check_rig(rig) == []
    assert check_rig(rig.subset(["cam1"])) == []


@pytest.mark.parametrize(
    ("changes", "level", "message"),
    [
        ({"size_px": (500, 500)}, "error", "outside the picture of 500×500"),
        ({"size_px": (400, 1400)}, "error", "width and height may be swapped"),
        ({"size_px": (4000, 720)}, "warning", "far from the middle"),
        (
            {"K": np.array([[8.0, 0, 630], [0, 8.0, 365], [0, 0, 1]]), "dist": np.zeros(0)},
            "error",
            "millimetres instead of pixels",
        ),
        ({"K": np.array([[60000.0, 0, 630], [0, 60000.0, 365], [0, 0, 1]])}, "warning", "47 picture widths: nearly orthographic"),
        ({"K": np.array([[1400.0, 0, 630], [0, 900.0, 365], [0, 0, 1]])}, "warning", "pixels that are not square"),
        ({"dist": np.array([-3.0, 0, 0, 0])}, "warning", "fold the picture over"),
    ],
)
def test_odd_intrinsics(changes: Any, level: Any, message: Any, rig: Any) -> None:
    findings = check_rig(with_camera(rig, 1, **changes))
    assert [(finding.level, finding.camera) for finding in findings] == [(level, "cam1")]
    assert message in findings[0].message


def test_the_same_camera_twice(rig: Any) -> None:
    findings = check_rig(Rig((*rig.cameras, replace(rig.cameras[1], name="copy"))))
    assert [(finding.level, finding.camera) for finding in findings] == [("error", "copy")]
    assert "camera 'cam1'" in findings[0].message


def test_inverted_extrinsics_of_one_camera_are_named(rig: Any) -> None:
    camera = rig.cameras[2]
    turned = with_camera(
        rig, 2, R_cam_world=np.diag([-1.0, 1, -1]) @ camera.R_cam_world, t_cam_world=np.diag([-1.0, 1, -1]) @ camera.t_cam_world
    )
    findings = check_rig(turned)
    assert [(finding.level, finding.camera) for finding in findings] == [("error", "cam2")]
    assert "lies behind it" in findings[0].message


def test_opengl_axes_are_recognised(rig: Any) -> None:
    flip = np.diag([1.0, -1, -1])
    cameras = (replace(c, R_cam_world=flip @ c.R_cam_world, t_cam_world=flip @ c.t_cam_world) for c in rig.cameras)
    findings = check_rig(Rig(tuple(cameras)))
    assert [(finding.level, finding.camera) for finding in findings] == [("error", None)]
    assert "OpenGL" in findings[0].message


def test_upside_down_camera_is_a_warning(rig: Any) -> None:
    flip = np.diag([-1.0, -1, 1])
    camera = rig.cameras[3]
    findings = check_rig(with_camera(rig, 3, R_cam_world=flip @ camera.R_cam_world, t_cam_world=flip @ camera.t_cam_world))
    assert [(finding.level, finding.camera) for finding in findings] == [("warning", "cam3")]
    assert "upside down" in findings[0].message


def test_camera_that_looks_past_the_others(rig: Any) -> None:
    camera = rig.cameras[0]
    angle = np.radians(70)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    findings = check_rig(with_camera(rig, 0, R_cam_world=turn @ camera.R_cam_world, t_cam_world=turn @ camera.t_cam_world))
    assert "cam0" in {finding.camera for finding in findings}
    assert all("past the point" in finding.message for finding in findings)


def walk(rig: Rig, points: FloatArray, frames: int = 40) -> FloatArray:
    """(n, V, K, 2) points that wave about, with half a pixel of noise."""
    time = np.arange(frames)[:, None, None]
    middle = points.mean(axis=0)
    xyz = middle + 0.5 * (points[None, :12] - middle) + 300 * np.sin(0.15 * time + np.arange(3))
    return rig.project(xyz) + np.random.default_rng(0).normal(0, 0.5, (frames, len(rig), 12, 2))


def test_points_of_a_good_rig_have_no_findings(rig: Any, points: Any) -> None:
    assert check_points(rig, walk(rig, points)) == []
    assert check_points(rig, walk(rig, points, frames=5)) == []


def test_camera_that_was_moved_is_named_with_figures(rig: Any, points: Any) -> None:
    xy_px = walk(rig, points)
    angle = np.radians(4)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    moved = with_camera(rig, 2, R_cam_world=turn @ rig.cameras[2].R_cam_world, t_cam_world=turn @ rig.cameras[2].t_cam_world)
    findings = check_points(moved, xy_px)
    assert [(f.level, f.camera) for f in findings if f.level == "error"] == [("error", "cam2")]
    assert "contradicts the others" in next(f.message for f in findings if f.level == "error")


def test_camera_that_started_late_is_named_with_its_offset(rig: Any, points: Any) -> None:
    long = walk(rig, points, frames=44)
    xy_px = long[:40].copy()
    xy_px[:, 1] = long[4:, 1]  # the camera's frame i shows what the others show in frame i + 4
    findings = [f for f in check_points(rig, xy_px) if "fits frame i of the others" in f.message]
    assert [(f.level, f.camera) for f in findings] == [("error", "cam1")]
    assert "its frame i + (-4)" in findings[0].message


def test_camera_without_common_points_is_said(rig: Any, points: Any) -> None:
    xy_px = walk(rig, points)
    xy_px[:, 3] = np.nan
    findings = check_points(rig, xy_px)
    assert [(f.level, f.camera) for f in findings] == [("warning", "cam3")]
    assert "no points" in findings[0].message


def test_points_behind_a_camera_are_an_error(rig: Any, points: Any) -> None:
    flip = np.diag([-1.0, 1, -1])
    c = rig.cameras[1]
    inverted = with_camera(rig, 1, R_cam_world=flip @ c.R_cam_world, t_cam_world=flip @ c.t_cam_world)
    messages = [f.message for f in check_points(inverted, walk(rig, points)) if f.camera == "cam1" and f.level == "error"]
    assert any("100% of the points in its pictures lie behind it" in message for message in messages)


@pytest.mark.parametrize("frames", [5, 40])
def test_exchanged_names_are_named(frames: Any, rig: Any, points: Any) -> None:
    findings = check_points(rig, walk(rig, points, frames)[:, [0, 2, 1, 3]])
    (error,) = [f for f in findings if f.level == "error" and "exchanged" in f.message]
    assert error.camera is None
    assert "cameras 'cam1' and 'cam2' are exchanged" in error.message


def test_exchanged_names_of_a_pair_are_an_error(rig: Any, points: Any) -> None:
    pair = rig.subset(["cam0", "cam1"])
    assert any(f.level == "error" for f in check_points(pair, walk(pair, points)[:, ::-1]))


def test_pictures_of_half_the_calibrated_size(rig: Any, points: Any) -> None:
    xy_px = walk(rig, points)
    xy_px[:, 1] = (xy_px[:, 1] + 0.5) / 2 - 0.5
    (error,) = [f for f in check_points(rig, xy_px) if f.level == "error" and "as large" in f.message]
    assert error.camera == "cam1"
    assert "0.5 times as large as in the calibrated picture of 1280×720" in error.message


def test_points_beside_the_calibrated_picture(rig: Any, points: Any) -> None:
    small = with_camera(rig, 1, size_px=(640, 720))
    found = {f.camera: f for f in check_points(small, walk(rig, points)) if "outside the calibrated picture" in f.message}
    assert set(found) == {"cam1"}
    assert found["cam1"].level == "error"


def test_two_cameras_that_contradict_each_other_are_an_error(rig: Any, points: Any) -> None:
    pair = rig.subset(["cam0", "cam1"])
    angle = np.radians(4)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]])
    c = pair.cameras[1]
    moved = with_camera(pair, 1, R_cam_world=turn @ c.R_cam_world, t_cam_world=turn @ c.t_cam_world)
    assert [f.level for f in check_points(moved, walk(pair, points, 5))] == ["error", "error"]


@pytest.mark.parametrize("origin", [0.0, 5e6, 5e8])
def test_a_rig_far_from_the_origin_is_not_one_camera_twice(origin: Any, rig: Any, points: Any) -> None:
    """Metres in a map's coordinates (UTM): the distance from the equator is not the size of the rig."""
    shift = np.array([origin / 10, origin, 0.0])
    cameras = (replace(c, t_cam_world=c.t_cam_world - c.R_cam_world @ shift) for c in rig.cameras)
    close = [replace(c, name=c.name) for c in cameras]
    here = Rig(tuple(close), "mm")
    assert check_rig(here) == []
    assert check_points(here, walk(rig, points)) == []
    findings = check_rig(Rig((*here.cameras, replace(here.cameras[1], name="copy"))))
    assert [(f.level, f.camera) for f in findings] == [("error", "copy")]


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_an_implausible_unit_is_said_in_both_directions(factor: Any, rig: Any) -> None:
    cameras = (replace(c, t_cam_world=factor * c.t_cam_world / 4) for c in rig.cameras)
    (finding,) = check_rig(Rig(tuple(cameras), "mm"))
    assert finding.level == "warning"
    assert "another unit?" in finding.message


@pytest.mark.parametrize(("size", "c"), [((720, 1280), (639.5, 359.5)), ((480, 640), (326.0, 240.0))])
def test_width_and_height_swapped_shows_in_the_principal_point(size: Any, c: Any, rig: Any) -> None:
    K = np.array([[900.0, 0, c[0]], [0, 900.0, c[1]], [0, 0, 1]])
    (finding,) = check_rig(with_camera(rig, 1, K=K, size_px=size, dist=np.zeros(0)))
    assert (finding.level, finding.camera) == ("error", "cam1")
    assert f"{size[1]}×{size[0]}, not {size[0]}×{size[1]}: width and height swapped" in finding.message
