"""Tiny pictures with coloured blobs: enough for a network to learn within a few seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from label_config.values import ByteArray, FloatArray, ImageRef, TrainingTarget
from label_config.values.skeleton import Skeleton
from ml_backend.pose.config import AugmentConfig, TrainConfig

COLOURS = np.array([[255, 40, 40], [40, 255, 40], [60, 60, 255]], dtype=np.float64)


@dataclass(frozen=True)
class Blobs:
    """``n`` pictures of ``size`` (w, h) with one blob per keypoint at known places."""

    targets: list[TrainingTarget]
    pictures: dict[str, ByteArray]
    skeleton: Skeleton

    def load(self, ref: ImageRef) -> ByteArray:
        return self.pictures[ref.source]

    @property
    def images(self) -> list[ByteArray]:
        return [self.pictures[target.image.source] for target in self.targets]

    @property
    def truth(self) -> FloatArray:
        return np.stack([target.xy_px for target in self.targets])


def draw(xy: FloatArray, size: tuple[int, int], radius: float) -> ByteArray:
    """Blobs of the three colours at xy (K, 2) on grey."""
    col, row = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    picture = np.full((size[1], size[0], 3), 90.0)
    for (x, y), colour in zip(xy, COLOURS, strict=False):
        mask = np.exp(-0.5 * ((col - x) ** 2 + (row - y) ** 2) / radius**2)[..., None]
        picture = picture * (1 - mask) + colour * mask
    return picture.astype(np.uint8)


@pytest.fixture
def make_blobs() -> Callable[..., Blobs]:
    def make(n: int = 6, size: tuple[int, int] = (64, 64), spread: float = 0.35, radius: float = 3.0, seed: int = 0) -> Blobs:
        rng = np.random.default_rng(seed)
        targets, pictures = [], {}
        for i in range(n):
            reach = spread * min(size)
            middle = np.array(size) / 2 if spread >= 0.3 else rng.uniform(2 * reach, np.array(size) - 2 * reach)
            xy = middle + rng.uniform(-reach, reach, (3, 2))
            name = f"picture{i}"
            pictures[name] = draw(xy, size, radius)
            targets.append(TrainingTarget(ImageRef(name), xy, np.ones(3)))
        skeleton = Skeleton("blobs", ("left", "right", "top"), limbs=((2, 0), (2, 1)), root=2, pairs=((0, 1),))
        return Blobs(targets, pictures, skeleton)

    return make


@pytest.fixture
def stretched_blobs() -> Callable[[int, int], Blobs]:
    """Blobs that grow with the length of the limbs: how long a limb is can be seen, but not guessed."""

    def make(n: int, seed: int) -> Blobs:
        rng = np.random.default_rng(seed)
        targets, pictures = [], {}
        for i in range(n):
            length, angle = rng.uniform(8, 24), rng.uniform(0, 2 * np.pi)
            step = length * np.array([np.cos(angle), np.sin(angle)])
            middle = np.array([32.0, 32.0]) + rng.uniform(-6, 6, 2)
            xy = np.stack([middle + step, middle - 0.5 * step, middle])
            name = f"picture{seed}.{i}"
            pictures[name] = draw(xy, (64, 64), 1 + length / 6)
            targets.append(TrainingTarget(ImageRef(name), xy, np.ones(3)))
        return Blobs(targets, pictures, Skeleton("blobs", ("left", "right", "top"), limbs=((2, 0), (2, 1)), root=2))

    return make


@pytest.fixture
def tiny() -> TrainConfig:
    """A configuration that trains within a second."""
    return TrainConfig(
        input_px=(32, 32),
        network_args={"width": 4, "decoder": 8},
        steps=12,
        batch=4,
        device="cpu",
        augment=AugmentConfig(rotation_deg=10, noise=5),
    )


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
