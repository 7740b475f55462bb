"""A subject keeps its number from frame to frame, whatever the order of the poses, and loses it for good reasons only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from label_config.values import FloatArray, IntArray
from ml_backend.geometry.linking import FARTHEST, link

#: (K, 2) a body whose box has a diagonal of 100 px.
BODY = np.array([[0.0, 0.0], [60.0, 0.0], [60.0, 80.0], [0.0, 80.0]])


def walkers(at_px: FloatArray) -> FloatArray:
    """(n, S, 2) places → (n, S, 1, 4, 2) poses that one camera shows; a NaN place is no pose."""
    return np.asarray(BODY + at_px[:, :, None, None, :])


def two_that_cross(n: int = 61) -> FloatArray:
    """Side by side and back, passing each other in the middle at 35 px."""
    x = np.linspace(0, 300, n)
    return np.stack([np.stack([x, 0 * x], axis=-1), np.stack([300 - x, 0 * x + 35], axis=-1)], axis=1)


def shuffled(poses: FloatArray, seed: int = 0) -> tuple[FloatArray, IntArray]:
    rng = np.random.default_rng(seed)
    who = np.stack([rng.permutation(poses.shape[1]) for _ in poses])
    return np.stack([pose[order] for pose, order in zip(poses, who, strict=True)]), who


def numbers(poses: FloatArray, **options: Any) -> IntArray:
    return link(poses, np.arange(len(poses)), **options)


def test_two_that_cross_keep_their_numbers() -> None:
    poses, who = shuffled(walkers(two_that_cross()))
    found = numbers(poses)
    first = {int(w): int(f) for w, f in zip(who[0], found[0], strict=True)}
    assert found.tolist() == [[first[w] for w in row] for row in who.tolist()]


def test_numbers_are_given_in_the_order_of_appearance() -> None:
    at = np.full((4, 2, 2), np.nan)
    at[1:, 1] = [10.0, 0.0]
    at[2:, 0] = [500.0, 0.0]
    assert numbers(walkers(at)).tolist() == [[-1, -1], [-1, 0], [1, 0], [1, 0]]


@pytest.mark.parametrize(("gone", "after"), [(3, 0), (4, 1)])
def test_a_short_absence_is_forgiven(gone: int, after: int) -> None:
    at = np.zeros((10, 1, 2))
    at[2 : 2 + gone] = np.nan
    assert numbers(walkers(at), remembered=4)[:, 0].tolist() == [0, 0, *[-1] * gone, *[after] * (8 - gone)]


@pytest.mark.parametrize(("step_px", "after"), [(100 * FARTHEST - 1, 0), (100 * FARTHEST + 1, 1)])
def test_a_leap_is_of_somebody_else(step_px: float, after: int) -> None:
    assert numbers(walkers(np.array([[[0.0, 0.0]], [[step_px, 0.0]]])))[:, 0].tolist() == [0, after]


def test_frames_far_apart_are_not_joined() -> None:
    assert link(walkers(np.zeros((2, 1, 2))), np.array([3, 900]))[:, 0].tolist() == [0, 1]


def test_places_in_the_world_part_what_one_camera_shows_in_one_place() -> None:
    """Both swap their places in the picture, one behind the other; in the world each has only moved a little."""
    poses = walkers(np.array([[[0.0, 0], [30.0, 0]], [[30.0, 0], [0.0, 0]]]))
    world = np.zeros((2, 2, 4, 3))
    world[:, :, :, :2] = BODY * 10
    world[:, 1, :, 2] = 3000.0
    frames = np.arange(2)
    assert link(poses, frames).tolist() == [[0, 1], [1, 0]]
    assert link(poses, frames, world).tolist() == [[0, 1], [0, 1]]


def test_nobody() -> None:
    assert numbers(np.full((3, 2, 1, 4, 2), np.nan)).tolist() == [[-1, -1]] * 3
    assert numbers(np.zeros((0, 2, 1, 4, 2))).shape == (0, 2)
