"""Small worlds on which every score can be tried: a rig, a moving body, its pictures and what a network would say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from label_config.values import FloatArray, PointState
from label_config.values.prediction import Output
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.score import Chunk, Labelled
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.geometry.triangulation import triangulate_robust
from tests.predictions import changed, peaks, predicted

BODY = Skeleton("body", ("root", "neck", "head", "left", "right"), ((0, 1), (1, 2), (1, 3), (1, 4)), pairs=((3, 4),))
HEATMAP = (24, 32)
SIZE_PX = (640.0, 480.0)
#: Where somebody else stands, in mm.
BESIDE = np.array([900.0, 300.0, 0.0])


def gaussian_maps(xy_hm: FloatArray, sigma: float = 2.0, size: tuple[int, int] = HEATMAP) -> np.ndarray[Any, Any]:
    """(..., 2) → (..., h, w) unit blobs."""
    rows, columns = np.arange(size[0])[:, None], np.arange(size[1])
    squared = (columns - xy_hm[..., 0, None, None]) ** 2 + (rows - xy_hm[..., 1, None, None]) ** 2
    return np.exp(-squared / (2 * sigma**2)).astype(np.float32)


def ring(n_views: int) -> Rig:
    """Cameras on a circle of 3 m around the origin, all looking at it."""
    cameras = []
    for i in range(n_views):
        angle = 2 * np.pi * i / max(n_views, 5)
        back = np.array([np.cos(angle), np.sin(angle), 0.3])
        forward = -back / np.linalg.norm(back)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        k = np.array([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]])
        centre = -3000.0 * forward
        cameras.append(
            Camera(
                name=f"cam{i}",
                K=k,
                R_cam_world=rotation,
                t_cam_world=-rotation @ centre,
                dist=np.zeros(0),
                model="pinhole",
                size_px=(640, 480),
            )
        )
    return Rig(tuple(cameras), "mm")


def poses(n: int, seed: int = 0) -> FloatArray:
    """(n, 5, 3) mm: a body with limbs of fixed length whose directions wander."""
    rng = np.random.default_rng(seed)
    time = np.arange(n)[:, None] * 0.15
    phase = rng.uniform(0, 2 * np.pi, (4, 3))
    rest = np.array([[0, 0, 1.0], [0, 0.1, 1.0], [1.0, 0, -0.2], [-1.0, 0, -0.2]])
    length = np.array([450.0, 250.0, 350.0, 350.0])
    root = 60 * np.stack([np.cos(time[:, 0]), np.sin(time[:, 0]), np.zeros(n)], axis=1)
    joints = [root]
    for limb, (parent, _) in enumerate(BODY.limbs):
        direction = rest[limb] + 0.35 * np.sin(time + phase[limb])
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        joints.append(joints[parent] + length[limb] * direction)
    return np.stack(joints, axis=1)


def expected_links(xy_px: FloatArray) -> FloatArray:
    """(..., K, 2) → (..., L, 2): an auxiliary network that knows the true lengths, unsure by a twentieth of them."""
    parent, child = np.array(BODY.limbs).T
    length = np.linalg.norm(xy_px[..., child, :] - xy_px[..., parent, :], axis=-1)
    return np.stack([length, 2 * np.log(0.05 * length)], axis=-1)


@dataclass(frozen=True)
class World:
    """A run of frames that carries every input, and labels of the same body."""

    chunk: Chunk
    labelled: Labelled
    rig: Rig | None
    skeleton: Skeleton = BODY

    def predicting(self, xy_px: FloatArray) -> World:
        """The same world with other predictions (and what follows from them)."""
        points = None if self.rig is None else triangulate_robust(self.rig, xy_px)
        maxima = self.chunk.outputs[Output.PEAKS].copy()
        maxima[..., :2] = np.nan
        maxima[..., 0, :2] = xy_px
        chunk = changed(self.chunk, {Output.PEAKS: maxima}, xy_px=xy_px)
        return replace(self, chunk=replace(chunk, triangulated=points))


def make_world(n: int = 12, n_views: int = 3, calibrated: bool = True, noise_px: float = 0.5, seed: int = 0) -> World:
    """Predictions with a little noise in all views; ``calibrated=False`` hides the cameras."""
    rng = np.random.default_rng(seed)
    rig = ring(n_views)
    xyz = poses(n, seed)
    clean = rig.project(xyz)
    xy = clean + rng.normal(0, noise_px, clean.shape)
    keypoints = len(BODY)
    value = np.full((n, n_views, keypoints, 5), np.nan)
    value[..., 0] = rng.uniform(0.7, 1.0, value.shape[:3])
    value[..., 1] = rng.uniform(0.05, 0.3, value.shape[:3])
    places = np.full((*value.shape, 2), np.nan)
    places[..., 0, :], places[..., 1, :] = xy, xy + 25.0
    maps = gaussian_maps(xy * np.array([HEATMAP[1], HEATMAP[0]]) / SIZE_PX) * value[..., :1, None].astype(np.float32)
    chunk = Chunk(
        sequence="trial",
        index=np.arange(n, dtype=np.int64),
        core=slice(0, n),
        prediction=predicted(
            xy,
            value[..., 0].copy(),
            {
                Output.PEAKS: peaks(places, value),
                Output.HEATMAPS: maps,
                Output.ENSEMBLE: np.moveaxis(xy + rng.normal(0, 1.0, (3, *xy.shape)), 0, 3),
                Output.LINKS: expected_links(xy),
                Output.VARIANCE: np.log(rng.uniform(1.0, 9.0, value.shape[:3])),
                Output.LEARNING_LOSS: rng.normal(0, 1, value.shape[:2]),
            },
        ),
        size_px=np.tile(np.array(SIZE_PX), (n_views, 1)),
        triangulated=triangulate_robust(rig, xy) if calibrated else None,
        rig=rig if calibrated else None,
        skeleton=BODY,
        # Somebody else stands beside, whom the first camera does not show.
        subjects=np.stack((xy, np.where(np.arange(n_views)[:, None, None] > 0, rig.project(xyz + BESIDE), np.nan)), axis=1),
    )
    label_xyz = poses(60, seed)
    label_xy = rig.project(label_xyz) + rng.normal(0, noise_px, (60, n_views, keypoints, 2))
    labelled = Labelled(
        xy_px=label_xy,
        state=np.full(label_xy.shape[:3], PointState.VISIBLE, dtype=np.int64),
        size_px=chunk.size_px,
        xyz_world=label_xyz if calibrated else None,
    )
    return World(chunk, labelled, rig if calibrated else None)


@pytest.fixture(name="make_world")
def make_world_fixture() -> Callable[..., World]:
    """``make_world(n, n_views, calibrated, noise_px, seed)``."""
    return make_world


@pytest.fixture(name="gaussian_maps")
def gaussian_maps_fixture() -> Callable[..., Any]:
    """``gaussian_maps(xy_hm, sigma, size)``."""
    return gaussian_maps


@pytest.fixture
def world() -> World:
    """Twelve frames, three calibrated views."""
    return make_world()


@pytest.fixture
def body() -> Skeleton:
    """The skeleton of every world."""
    return BODY
