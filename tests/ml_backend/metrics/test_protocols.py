"""Figures in units of the head, the torso and the limbs, in closed form."""

from dataclasses import dataclass

import numpy as np
import pytest

from label_config.values import FloatArray
from label_config.values.skeleton import Skeleton
from ml_backend.metrics.pck import Pck, Pcp
from ml_backend.metrics.protocols import protocol_figures

#: Head 10 px, torso 50 px (3-4-5), one limb of 40 px.
POSE = np.array([[[0.0, 0.0], [0.0, 10.0], [30.0, 50.0], [30.0, 90.0]]])
SKELETON = Skeleton("figure", ("top", "neck", "hip", "knee"), limbs=((2, 3),), head=(0, 1), torso=(1, 2))


@dataclass(frozen=True)
class Figures:
    """All four of them."""

    head: Pck
    torso: Pck
    strict: Pcp
    loose: Pcp


def figures(found: FloatArray, truth: FloatArray) -> Figures:
    """Those of a skeleton that names its head, torso and limbs."""
    of = protocol_figures(found, truth, SKELETON)
    assert of.head is not None
    assert of.torso is not None
    assert of.strict is not None
    assert of.loose is not None
    return Figures(of.head, of.torso, of.strict, of.loose)


def test_limits_are_half_the_head_and_a_fifth_of_the_torso() -> None:
    moved = POSE + [[[5.0, 0], [5.01, 0], [10.0, 0], [10.01, 0]]]
    found = figures(moved, POSE)
    np.testing.assert_array_equal(found.head.per_keypoint, [1, 0, 0, 0])
    np.testing.assert_array_equal(found.torso.per_keypoint, [1, 1, 1, 0])


def test_a_limb_by_both_ends_or_by_their_mean() -> None:
    moved = POSE + [[[0, 0], [0, 0], [0, 5.0], [0, 35.0]]]  # mean 20, half of the limb; one end 35
    found = figures(moved, POSE)
    assert (found.strict.mean, found.loose.mean) == (0, 1)


def test_the_same_in_the_world() -> None:
    pose = np.concatenate([POSE, np.zeros((1, 4, 1))], axis=-1)
    found = figures(pose + [[[0, 0, 5.0]] * 4], pose)
    assert (found.head.overall, found.torso.overall, found.strict.mean) == (1, 1, 1)
    assert figures(pose + [[[0, 0, 20.1]] * 4], pose).loose.mean == 0


def test_what_the_skeleton_does_not_name_is_not_known() -> None:
    found = protocol_figures(POSE, POSE, Skeleton("bare", SKELETON.keypoints))
    assert (found.head, found.torso, found.strict, found.loose) == (None, None, None, None)


def test_a_pose_without_a_labelled_head_does_not_count() -> None:
    truth = np.concatenate([POSE, POSE])
    truth[1, 0] = np.nan
    found = figures(truth, truth)
    assert (found.head.count, found.torso.count) == (4, 7)
    assert found.head.overall == pytest.approx(1)
