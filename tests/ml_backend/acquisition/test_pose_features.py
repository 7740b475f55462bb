"""Poses as vectors: centring, scaling, angles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.features import (
    angle_triples,
    hybrid_features,
    paper_features,
    pose2d_features,
    pose3d_features,
    pose_size_px,
    spanning_limbs,
)

CHAIN = Skeleton("arm", ("a", "b", "c", "d"), ((0, 1), (1, 2), (2, 3)))
STAR = Skeleton("star", ("hub", "p", "q", "r"), ((0, 1), (0, 2), (0, 3)))
RANDOM = np.random.default_rng(5).normal(100, 30, (20, 4, 2))


def test_root_centred_in_space() -> None:
    xyz = np.arange(24, dtype=np.float64).reshape(2, 4, 3) ** 1.5
    centred = pose3d_features(xyz, Skeleton("s", ("a", "b", "c", "d"), root=2))
    np.testing.assert_array_equal(centred[:, 2], 0)
    np.testing.assert_allclose(centred[:, 0], xyz[:, 0] - xyz[:, 2])
    xyz[0, 2] = xyz[1, 1] = np.nan
    centred = pose3d_features(xyz, Skeleton("s", ("a", "b", "c", "d"), root=2))
    assert np.isnan(centred[0]).all()
    assert np.isnan(centred[1]).any(axis=1).tolist() == [False, True, False, False]


def test_size_of_a_square() -> None:
    square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    assert pose_size_px(square) == pytest.approx(np.sqrt(8))
    square[0] = np.nan
    assert pose_size_px(square) == pytest.approx(np.sqrt(8))
    square[1] = np.nan
    assert np.isnan(pose_size_px(square))


def test_triples_of_chains_and_stars() -> None:
    assert angle_triples(CHAIN).tolist() == [[0, 1, 2], [1, 2, 3]]
    assert angle_triples(STAR).tolist() == [[1, 0, 2], [2, 0, 3]]
    assert angle_triples(Skeleton("points", ("a", "b"))).shape == (0, 3)


@pytest.mark.parametrize(
    ("last", "turn", "line"),
    [
        ((2.0, 0.0), 0.0, 0.0),  # straight on
        ((0.0, 0.0), 1.0, 0.0),  # folded back: the lines are the same, the limb is not
        ((1.0, 1.0), 0.5, np.pi / 2),  # a quarter turn with the picture's y axis down
        ((1.0, -1.0), -0.5, np.pi / 2),  # the other way
        ((2.0, 1.0), 0.25, np.pi / 4),
    ],
)
def test_angles_of_a_bent_limb(last: tuple[float, float], turn: float, line: float) -> None:
    elbow = Skeleton("elbow", ("a", "b", "c"), ((0, 1), (1, 2)))
    xy = np.array([[0.0, 0.0], [1.0, 0.0], last])
    ours = hybrid_features(xy, elbow, np.array(1.0))[-1]
    paper = paper_features(xy, None, angle_triples(elbow), np.array(1.0))[-1]
    assert abs(ours) == pytest.approx(abs(turn), abs=1e-9)
    assert ours == pytest.approx(turn) or abs(turn) == 1
    assert paper == pytest.approx(line, abs=1e-5)


def test_the_paper_weights_the_centre_by_confidence_and_divides_by_the_height() -> None:
    xy = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 8.0], [0.0, 8.0]])
    weight = np.array([1.0, 1.0, 0.0, np.nan])
    features = paper_features(xy, weight, angle_triples(CHAIN), np.array(10.0))
    np.testing.assert_allclose(features[:8], [-0.2, 0, 0.2, 0, 0.2, 0.8, -0.2, 0.8])
    assert np.isnan(paper_features(xy, weight, angle_triples(CHAIN), np.array(0.0))).all()


def test_limb_vectors_in_units_of_the_size() -> None:
    xy = np.array([[1.0, 1.0], [5.0, 1.0], [5.0, 9.0], [1.0, 9.0]])
    np.testing.assert_allclose(hybrid_features(xy, CHAIN, np.array(4.0)), [1, 0, 0, 2, -1, 0, 0.5, 0.5])


def test_trees_are_joined_at_the_top_of_the_roots_tree() -> None:
    forest = Skeleton("two", ("a", "b", "c", "d", "e"), ((0, 1), (3, 2)), root=2)
    assert spanning_limbs(forest).tolist() == [[0, 1], [3, 2], [3, 0], [3, 4]]
    assert spanning_limbs(CHAIN).tolist() == [list(limb) for limb in CHAIN.limbs]
    assert spanning_limbs(Skeleton("points", ("a", "b", "c"), root=1)).tolist() == [[1, 0], [1, 2]]


@settings(deadline=None, max_examples=40)
@given(
    shift=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    scale=st.floats(0.1, 50.0),
)
def test_shift_and_scale_change_nothing(shift: tuple[float, float], scale: float) -> None:
    moved = RANDOM * scale + np.array(shift)
    np.testing.assert_allclose(hybrid_features(moved, CHAIN), hybrid_features(RANDOM, CHAIN), atol=1e-8)
    ours, same = (pose2d_features(xy, 1, pose_size_px(xy)) for xy in (moved, RANDOM))
    np.testing.assert_allclose(ours, same, atol=1e-8)
    np.testing.assert_array_equal(ours[:, 1], 0)


def test_a_missing_joint_takes_only_its_own_limbs_and_angles() -> None:
    xy = RANDOM.copy()
    xy[3, 3] = np.nan
    size = np.ones(len(xy))
    features, complete = hybrid_features(xy, CHAIN, size), hybrid_features(RANDOM, CHAIN, size)
    gone = np.isnan(features[3])
    assert gone.tolist() == [False] * 4 + [True] * 2 + [False, True]
    np.testing.assert_array_equal(features[3, ~gone], complete[3, ~gone])
    xy[4, 1:3] = np.nan
    assert np.isnan(hybrid_features(xy, CHAIN)[4]).all()  # two joints have no size
    assert np.isnan(hybrid_features(np.ones((4, 2)), CHAIN)).all()  # no extent, no size
    assert hybrid_features(xy[:0], CHAIN).shape == (0, 8)
