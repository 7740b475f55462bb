"""Frames with several subjects are as far apart as their poses in the cheapest assignment."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from label_config.values import FloatArray
from ml_backend.acquisition.feature_spaces import make_space
from ml_backend.acquisition.pose_sets import PoseSetSpace

K = 5


def random_sets(n: int, most: int, seed: int) -> FloatArray:
    """(n, S, K, 3) with subjects and keypoints missing; the first frame shows nobody."""
    rng = np.random.default_rng(seed)
    poses = rng.normal(size=(n, most, K, 3))
    poses[rng.random((n, most)) < 0.35] = np.nan
    poses[rng.random((n, most, K)) < 0.1] = np.nan
    poses[0] = np.nan
    return poses


def pose_distance(a: FloatArray, b: FloatArray) -> float:
    apart = np.linalg.norm(a - b, axis=-1)
    known = apart[np.isfinite(apart)]
    return float(known.mean()) if len(known) >= K / 2 else 0.0


def by_definition(a: FloatArray, b: FloatArray) -> float:
    """All ways to give every pose of the smaller frame a partner; those left over go to the nearest."""
    sets = [[pose for pose in poses if np.isfinite(pose).all(axis=-1).sum() >= K / 2] for poses in (a, b)]
    small, large = sorted(sets, key=len)
    if not small:
        return 0.0
    totals = []
    for chosen in permutations(range(len(large)), len(small)):
        matched = sum(pose_distance(pose, large[i]) for pose, i in zip(small, chosen, strict=True))
        alone = [i for i in range(len(large)) if i not in chosen]
        totals.append(matched + sum(min(pose_distance(large[i], pose) for pose in small) for i in alone))
    return min(totals) / len(large)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_distances_are_those_of_the_cheapest_assignment(most: int) -> None:
    poses, labelled = random_sets(12, most, seed=most), random_sets(6, most, seed=50 + most)
    space = PoseSetSpace(poses, labelled)
    for position in np.flatnonzero(space.usable).tolist():
        wanted = [by_definition(pose, poses[position]) for pose in poses]
        np.testing.assert_allclose(space.distance_to(position), wanted, rtol=1e-5, atol=1e-6)
    distance, nearest = space.nearest_reference()
    known = [row for row in range(len(labelled)) if np.isfinite(labelled[row]).all(axis=-1).sum(axis=-1).max() >= K / 2]
    wanted = [min(by_definition(pose, labelled[row]) for row in known) for pose in poses]
    np.testing.assert_allclose(distance, wanted, rtol=1e-5, atol=1e-6)
    assert set(nearest[space.usable].tolist()) <= set(known)
    assert not space.usable[0]


def test_with_one_subject_it_is_the_space_of_poses_to_the_last_bit() -> None:
    poses, labelled = random_sets(40, 1, seed=1), random_sets(9, 1, seed=2)
    one, several = make_space("mean_joint", poses[:, 0], labelled[:, 0]), make_space("pose_set", poses, labelled)
    assert one.usable.tolist() == several.usable.tolist()
    (first, nearest), (second, nearest_set) = one.nearest_reference(), several.nearest_reference()
    assert first.tobytes() == second.tobytes()
    assert nearest.tolist() == nearest_set.tolist()
    for position in np.flatnonzero(one.usable).tolist():
        assert one.distance_to(position).tobytes() == several.distance_to(position).tobytes()


def test_numbers_of_subjects_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    poses = rng.normal(size=(2, 3, K, 3))
    poses[1] = poses[0, [2, 0, 1]]
    space = make_space("pose_set", poses, poses[:1])
    np.testing.assert_allclose(space.distance_to(0), 0.0, atol=1e-7)
    np.testing.assert_allclose(space.nearest_reference()[0], 0.0, atol=1e-7)
