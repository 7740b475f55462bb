"""A rig on which geometry can be tried: cameras of unlike lenses on a ring, all looking roughly at the origin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ml_backend.geometry.cameras import Camera, Rig


def ring(views: int, *, focal_px: float = 1500.0, distance: float = 3000.0, dist: tuple[float, ...] = (), seed: int = 0) -> Rig:
    """Full-HD cameras ``distance`` mm from the origin, unevenly spaced and of unlike height."""
    rng = np.random.default_rng(seed)
    cameras = []
    for v in range(views):
        azimuth, height = 2 * np.pi * v / views + 0.1 * rng.normal(), rng.uniform(0.1, 0.6)
        forward = -np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack((right, np.cross(forward, right), forward))
        K = np.array([[focal_px, 0, 959.5], [0, focal_px * 1.01, 539.5], [0, 0, 1]])
        cameras.append(Camera(f"cam{v}", K, rotation, distance * rotation @ forward, np.array(dist), "pinhole", (1920, 1080)))
    return Rig(tuple(cameras))


@pytest.fixture(scope="session")
def make_ring() -> Callable[..., Rig]:
    """``make_ring(views, focal_px=, distance=, dist=, seed=)``."""
    return ring
