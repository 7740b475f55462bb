"""A rig that every format's test describes in that format's own words."""

import numpy as np
import pytest

from ml_backend.geometry.cameras import Camera, Rig

TARGET = np.array([1500.0, -900.0, 800.0])


@pytest.fixture
def rig() -> Rig:
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


@pytest.fixture
def points() -> np.ndarray:
    """(30, 3) points where the cameras look, millimetres."""
    return TARGET + np.random.default_rng(0).uniform(-500, 500, (30, 3))
