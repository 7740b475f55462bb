from dataclasses import replace

import numpy as np
import pytest

from ml_backend.geometry.calibration.check import check_rig
from ml_backend.geometry.cameras import Rig


def with_camera(rig: Rig, position: int, **changes) -> Rig:
    cameras = list(rig.cameras)
    cameras[position] = replace(cameras[position], **changes)
    return Rig(tuple(cameras), rig.unit)


def test_a_good_rig_has_no_findings(rig):
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
def test_odd_intrinsics(changes, level, message, rig):
    findings = check_rig(with_camera(rig, 1, **changes))
    assert [(finding.level, finding.camera) for finding in findings] == [(level, "cam1")]
    assert message in findings[0].message


def test_the_same_camera_twice(rig):
    findings = check_rig(Rig((*rig.cameras, replace(rig.cameras[1], name="copy"))))
    assert [(finding.level, finding.camera) for finding in findings] == [("error", "copy")]
    assert "camera 'cam1'" in findings[0].message


def test_inverted_extrinsics_of_one_camera_are_named(rig):
    camera = rig.cameras[2]
    turned = with_camera(
        rig, 2, R_cam_world=np.diag([-1.0, 1, -1]) @ camera.R_cam_world, t_cam_world=np.diag([-1.0, 1, -1]) @ camera.t_cam_world
    )
    findings = check_rig(turned)
    assert [(finding.level, finding.camera) for finding in findings] == [("error", "cam2")]
    assert "lies behind it" in findings[0].message


def test_opengl_axes_are_recognised(rig):
    flip = np.diag([1.0, -1, -1])
    cameras = (replace(c, R_cam_world=flip @ c.R_cam_world, t_cam_world=flip @ c.t_cam_world) for c in rig.cameras)
    findings = check_rig(Rig(tuple(cameras)))
    assert [(finding.level, finding.camera) for finding in findings] == [("error", None)]
    assert "OpenGL" in findings[0].message


def test_upside_down_camera_is_a_warning(rig):
    flip = np.diag([-1.0, -1, 1])
    camera = rig.cameras[3]
    findings = check_rig(with_camera(rig, 3, R_cam_world=flip @ camera.R_cam_world, t_cam_world=flip @ camera.t_cam_world))
    assert [(finding.level, finding.camera) for finding in findings] == [("warning", "cam3")]
    assert "upside down" in findings[0].message


def test_camera_that_looks_past_the_others(rig):
    camera = rig.cameras[0]
    angle = np.radians(70)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    findings = check_rig(with_camera(rig, 0, R_cam_world=turn @ camera.R_cam_world, t_cam_world=turn @ camera.t_cam_world))
    assert "cam0" in {finding.camera for finding in findings}
    assert all("past the point" in finding.message for finding in findings)
