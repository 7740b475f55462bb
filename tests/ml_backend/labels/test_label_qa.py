"""Geometry as a witness against single clicks."""

from typing import Any

import numpy as np
import pytest

from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.labels.label_check import contradicted_clicks, swapped_pairs


def ring(views: Any) -> Any:
    """Cameras in a ring around the origin, looking at it."""
    cameras = []
    for i in range(views):
        angle = 2 * np.pi * i / views
        position = np.array([3000 * np.cos(angle), 3000 * np.sin(angle), 600.0])
        forward = -position / np.linalg.norm(position)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        k = np.array([[1000.0, 0, 640], [0, 1000, 480], [0, 0, 1]])
        cameras.append(Camera(f"cam{i}", k, rotation, -rotation @ position, np.zeros(5), "pinhole", (1280, 960)))
    return Rig(tuple(cameras))


POINTS = np.random.default_rng(0).uniform(-500, 500, (4, 6, 3))


def labels(rig: Any, noise: Any = 0.5) -> Any:
    return rig.project(POINTS) + np.random.default_rng(1).normal(0, noise, (4, len(rig.cameras), 6, 2))


def test_careful_labels_have_no_conflict() -> None:
    rig = ring(5)
    assert contradicted_clicks(rig, labels(rig)) == []
    assert swapped_pairs(rig, labels(rig), ((0, 1), (2, 3))) == []


def test_the_click_in_the_wrong_place_is_named_with_where_it_should_be() -> None:
    rig = ring(5)
    xy = labels(rig)
    right_place = xy[2, 3, 4].copy()
    xy[2, 3, 4] += [60, 0]
    xy[0, 1, 2] += [0, 90]
    conflicts = contradicted_clicks(rig, xy)
    assert [(c.frame, c.view, c.keypoint) for c in conflicts] == [(0, 1, 2), (2, 3, 4)]
    assert all(c.certain and c.witnesses == 4 for c in conflicts)
    assert conflicts[1].residual_px == pytest.approx(60, abs=4)
    assert conflicts[1].expected_px is not None
    np.testing.assert_allclose(conflicts[1].expected_px, right_place, atol=4)


def test_two_witnesses_are_not_certain_and_two_cameras_cannot_name_one() -> None:
    rig = ring(3)
    xy = labels(rig, noise=0.0)
    xy[0, 0, 0] += [0, 80]
    (conflict,) = contradicted_clicks(rig, xy)
    assert (conflict.view, conflict.witnesses, conflict.certain) == (0, 2, False)
    xy[0, 2, 0] = np.nan
    (undecided,) = contradicted_clicks(rig, xy)
    assert undecided.view is None
    assert undecided.expected_px is None
    assert undecided.residual_px > 10


def test_unlabelled_and_single_views_pass() -> None:
    rig = ring(4)
    xy = labels(rig)
    xy[0] = np.nan
    xy[1, 1:, 2] = np.nan
    assert contradicted_clicks(rig, xy) == []


def test_a_lower_threshold_finds_smaller_slips() -> None:
    rig = ring(6)
    xy = labels(rig, noise=0.1)
    xy[3, 2, 1] += [5, 5]
    assert contradicted_clicks(rig, xy) == []
    (conflict,) = contradicted_clicks(rig, xy, threshold_px=2.0)
    assert (conflict.frame, conflict.view, conflict.keypoint) == (3, 2, 1)


def test_left_and_right_exchanged_in_one_view_are_found() -> None:
    rig = ring(5)
    xy = labels(rig)
    xy[1, 4, [2, 3]] = xy[1, 4, [3, 2]]
    (swap,) = swapped_pairs(rig, xy, ((0, 1), (2, 3)))
    assert (swap.frame, swap.view, swap.left, swap.right) == (1, 4, 2, 3)
    assert swap.swapped_px < 3 < 20 < swap.labelled_px


def test_two_wrong_clicks_are_no_swap() -> None:
    rig = ring(5)
    xy = labels(rig)
    xy[1, 4, [2, 3]] += [70, 70]
    assert swapped_pairs(rig, xy, ((2, 3),)) == []
    assert len(contradicted_clicks(rig, xy)) == 2
