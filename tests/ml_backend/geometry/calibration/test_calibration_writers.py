from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.geometry.calibration import convert_unit, read_calibration, write_calibration
from ml_backend.geometry.cameras import Rig

CASES = [("anipose", "c.toml"), ("pose2sim", "c.toml"), ("opencv", "c.yml"), ("opencv", "c.xml")]


def varied(rig: Rig) -> Rig:
    """Lenses of every kind, a name that needs quoting, skew, and a half-turn (where rotation vectors are ambiguous)."""
    a, b, c, d = rig.cameras
    K = a.K + np.array([[0, 1.5, 0], [0, 0, 0], [0, 0, 0]])
    return Rig(
        (
            replace(a, name='top "left" #1', K=K, dist=np.zeros(0)),
            replace(b, name="Kamera 2 – Süd", dist=np.linspace(-0.1, 0.1, 8, dtype=np.float64)),
            replace(c, name="007", dist=np.array([0.01, 0.002, 0, 0]), model="fisheye"),
            replace(d, name="true", R_cam_world=np.diag([-1.0, -1.0, 1.0]), t_cam_world=np.array([1 / 3, -2e4, 3000.0])),
        )
    )


@pytest.mark.parametrize(("format", "name"), CASES)
def test_round_trip_is_exact(format: Any, name: Any, rig: Any, tmp_path: Path) -> None:
    written = varied(rig)
    write_calibration(written, tmp_path / name, format)
    calibration = read_calibration(tmp_path / name)
    assert calibration.format == format
    for before, after in zip(written.cameras, convert_unit(calibration.rig, "mm").cameras, strict=True):
        assert (after.name, after.size_px, after.model) == (before.name, before.size_px, before.model)
        np.testing.assert_allclose(after.K, before.K, rtol=1e-12)
        np.testing.assert_allclose(after.R_cam_world, before.R_cam_world, atol=1e-9)
        np.testing.assert_allclose(after.t_cam_world, before.t_cam_world, rtol=1e-12)
        np.testing.assert_allclose(np.resize(after.dist, before.dist.shape), before.dist, rtol=1e-12)
        assert not after.dist[before.dist.size :].any()


@pytest.mark.parametrize("name", ["c.yml", "c.xml"])
def test_opencv_reads_what_is_written_for_it(name: Any, rig: Any, tmp_path: Path) -> None:
    write_calibration(rig, tmp_path / name, "opencv")
    storage = cv2.FileStorage(str(tmp_path / name), cv2.FileStorage_READ)
    node = storage.getNode("cameras").at(2)
    assert node.getNode("name").string() == "cam2"
    np.testing.assert_allclose(node.getNode("camera_matrix").mat(), rig.cameras[2].K)


def test_pose2sim_wants_a_metric_unit(rig: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"unit: expected one of m, cm, mm, got 'checkers'"):
        write_calibration(Rig(rig.cameras, "checkers"), tmp_path / "c.toml", "pose2sim")


def test_unit_conversion_moves_cameras_with_the_points(rig: Any, points: Any) -> None:
    np.testing.assert_allclose(convert_unit(rig, "m").project(points / 1000), rig.project(points), atol=1e-9)
