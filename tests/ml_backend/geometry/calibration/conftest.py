"""A rig that every format's test describes in that format's own words."""

import numpy as np
import pytest

from ml_backend.geometry.cameras import Rig
from tests.foreign.calibrations import TARGET, four_cameras


<<<<<<< HEAD
@pytest.fixture
def rig() -> Rig:
    return four_cameras()
=======
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
>>>>>>> 151ba13 (Videos and pages are decoded by a process that may die of them; campaigns of damaged files for every reader)


@pytest.fixture
def rig() -> Rig:
    """See ``four_cameras``."""
    return four_cameras()


@pytest.fixture
def points() -> np.ndarray:
    """(30, 3) points where the cameras look, millimetres."""
    return TARGET + np.random.default_rng(0).uniform(-500, 500, (30, 3))
