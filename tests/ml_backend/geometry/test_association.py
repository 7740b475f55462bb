"""Subjects are matched across cameras as they were made, whatever is missing, spurious or wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from label_config.values import BadInputError, FloatArray, IntArray
from ml_backend.geometry.association import NEUTRAL, associate, pair_evidence
from ml_backend.geometry.cameras import Camera, Rig

MakeRing = Callable[..., Rig]


def bodies(count: int, seed: int = 0) -> FloatArray:
    """(S, K, 3) clouds of 12 points within half a metre, their middles at least 600 mm apart on a circle."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(count) / count
    middle = 310 / np.sin(np.pi / max(count, 2)) * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
    return np.asarray(middle[:, None] + rng.normal(size=(count, 12, 3)) * 150)


def shuffled(xy: FloatArray, seed: int = 0) -> tuple[FloatArray, IntArray]:
    """(S, V, K, 2) with the instances of each camera in an order of its own, and (S, V) who each is."""
    rng = np.random.default_rng(seed)
    who = np.stack([rng.permutation(len(xy)) for _ in range(xy.shape[1])], axis=1)
    return np.take_along_axis(xy, who[..., None, None], axis=0), who


def same_sets(found: IntArray, who: IntArray) -> bool:
    """Whether two numberings mean the same subjects."""
    pairs = set(zip(found[found >= 0].tolist(), who[found >= 0].tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@pytest.mark.parametrize(("subjects", "views"), [(1, 2), (2, 3), (3, 2), (4, 6), (6, 8)])
def test_exact_points_are_matched_exactly(make_ring: MakeRing, subjects: int, views: int) -> None:
    rig = make_ring(views, dist=(-0.2, 0.05, 1e-3, -5e-4))
    xy, who = shuffled(rig.project(bodies(subjects)))
    (found,) = associate(rig, xy[None])
    assert same_sets(found.subject, who)
    assert (found.count, found.optimal) == (subjects, True)
    pairs = subjects * views * (views - 1) / 2
    assert found.evidence == pytest.approx(pairs, rel=1e-4), "exact points agree entirely: 1 for each pair"


def test_missing_instances_and_an_intruder_stay_apart(make_ring: MakeRing) -> None:
    rig = make_ring(5)
    xy = rig.project(bodies(3))
    xy[0, 2] = np.nan
    xy[1, :3] = np.nan
    intruder = np.full((1, *xy.shape[1:]), np.nan)
    intruder[0, 0] = rig.project(bodies(1, seed=9) + [900.0, -700.0, 300.0])[0, 0]
    xy, who = shuffled(np.concatenate((xy, intruder)))
    (found,) = associate(rig, xy[None])
    present = np.isfinite(xy).all(axis=(2, 3))
    assert ((found.subject >= 0) == present).all()
    assert same_sets(found.subject, who)
    assert found.count == 4


def test_a_wild_keypoint_and_noise_do_not_part_a_subject(make_ring: MakeRing) -> None:
    rig = make_ring(4)
    rng = np.random.default_rng(1)
    xy = rig.project(bodies(2))
    xy += rng.normal(size=xy.shape) * 3
    xy[0, 1, 5] += 400.0
    xy[1, 3, ::2] = np.nan
    xy, who = shuffled(xy)
    (found,) = associate(rig, xy[None])
    assert same_sets(found.subject, who)


def test_the_error_is_in_sizes_of_the_subject() -> None:
    """Two cameras side by side see a point on the same row: the evidence of a row that is off follows by hand."""

    K = np.array([[1000.0, 0, 500], [0, 1000.0, 400], [0, 0, 1]])
    left = Camera("left", K, np.eye(3), np.zeros(3), size_px=(1001, 801))
    right = Camera("right", K, np.eye(3), np.array([-300.0, 0, 0]), size_px=(1001, 801))
    rig = Rig((left, right))
    points = np.array([[-300.0, -400.0, 2000.0], [300.0, 400.0, 2000.0]])
    xy = rig.project(points)  # (2, 2, 2): the diagonal of both instances is 500 px
    for off in (0.0, 10.0, 25.0, 60.0):
        moved = xy.copy()
        moved[1, 0, 1] += off
        evidence = pair_evidence(rig, moved, moved, np.array([0, 1]))
        size = [np.hypot(*(instance[1] - instance[0])) for instance in moved]
        error = off / np.hypot(*size)
        assert evidence[0, 1] == pytest.approx((1 + 1 - min(error / NEUTRAL, 2)) / 2, abs=1e-9)


def test_instances_that_share_no_keypoint_are_joined_through_a_third(make_ring: MakeRing) -> None:
    rig = make_ring(3)
    xy = rig.project(bodies(1))
    xy[0, 0, :6] = np.nan
    xy[0, 1, 6:] = np.nan
    assert associate(rig, _without(xy, 2)[None])[0].count == 2
    assert associate(rig, xy[None])[0].count == 1


def _without(xy: FloatArray, view: int) -> FloatArray:
    hidden = xy.copy()
    hidden[:, view] = np.nan
    return hidden


def test_nobody_one_alone_and_a_wrong_shape(make_ring: MakeRing) -> None:
    rig = make_ring(3)
    empty = np.full((2, 2, 3, 12, 2), np.nan)
    assert [found.count for found in associate(rig, empty)] == [0, 0]
    empty[1, 1, 2] = rig.project(bodies(1))[0, 2]
    assert associate(rig, empty)[1].subject.tolist() == [[-1, -1, -1], [-1, -1, 0]]
    with pytest.raises(BadInputError, match="frames, instances, views, keypoints"):
        associate(rig, empty[0])
