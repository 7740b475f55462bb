"""A matching is clear where no other comes near it, and ambiguous where another is as good."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from label_config.values import FloatArray, IntArray
from ml_backend.geometry.ambiguity import least_loss, matching_ambiguity
from ml_backend.geometry.cameras import Rig

MakeRing = Callable[..., Rig]


def bodies(count: int, apart_mm: float = 800.0) -> FloatArray:
    """(S, K, 3) the same cloud of points again and again, side by side."""
    cloud = np.random.default_rng(3).normal(size=(12, 3)) * 150
    return np.stack([cloud + np.array([apart_mm * i, 0.0, 0.0]) for i in range(count)])


def value(evidence: FloatArray, subject: IntArray) -> float:
    same = subject[:, None] == subject[None]
    return float(np.triu(np.where(same, evidence, 0.0), 1).sum())


def test_exact_points_far_apart_are_clear(make_ring: MakeRing) -> None:
    rig = make_ring(4)
    found = matching_ambiguity(rig, rig.project(bodies(2))[None])
    np.testing.assert_allclose(found, 0.0, atol=0.05)


def test_two_in_the_same_place_may_be_either(make_ring: MakeRing) -> None:
    rig = make_ring(4)
    found = matching_ambiguity(rig, rig.project(bodies(2, apart_mm=0.0))[None])
    np.testing.assert_allclose(found, 1.0, atol=1e-6)


def test_two_that_were_mixed_up_in_a_camera_are_above_one_and_the_third_is_not(make_ring: MakeRing) -> None:
    rig = make_ring(5)
    xy = rig.project(bodies(3))
    xy[[0, 1], 2] = xy[[1, 0], 2]
    found = matching_ambiguity(rig, xy[None])[0]
    assert (found[:2] > 1).all()
    assert found[2] < found[:2].min()


def test_with_nobody_to_be_mistaken_for_there_is_nothing_to_say(make_ring: MakeRing) -> None:
    rig = make_ring(3)
    xy = np.full((2, 2, 3, 12, 2), np.nan)
    xy[0, 0] = rig.project(bodies(1))[0]
    xy[1] = rig.project(bodies(2))
    xy[1, 1, 1:] = np.nan
    found = matching_ambiguity(rig, xy)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).tolist() == [True, False], "a subject of one camera is matched with nothing"


@pytest.mark.parametrize("seed", range(20))
def test_the_least_loss_is_that_of_all_single_changes(seed: int) -> None:
    """Against the values of all partitions that differ by one instance, or by two of a camera that change places."""
    rng = np.random.default_rng(seed)
    shown = rng.random((3, 4)) < 0.8
    subject, view = np.nonzero(shown)
    n = len(view)
    evidence = np.triu(rng.uniform(-1, 1, (n, n)), 1)
    evidence = np.where(view[:, None] == view, 0.0, evidence + evidence.T)
    before, lost = value(evidence, subject), least_loss(evidence, view, subject)
    for i in range(n):
        losses = []
        for other in {*subject.tolist(), 99} - {int(subject[i])}:
            changed = subject.copy()
            rival = np.flatnonzero((subject == other) & (view == view[i]))
            changed[i], changed[rival] = other, subject[i]
            concerned = {i, *rival.tolist()}
            pairs = sum((subject[a] == subject[b]) for a in concerned for b in range(n) if b not in concerned) + sum(
                (changed[a] == changed[b]) for a in concerned for b in range(n) if b not in concerned
            )
            pairs = pairs / 2 if len(concerned) == 2 else pairs
            losses += [(before - value(evidence, changed)) / pairs] if pairs else []
        assert lost[i] == pytest.approx(min(losses, default=np.inf))
