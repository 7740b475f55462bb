"""How far people agree, by hand-made distances."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from label_config.values import PointState, Pose2D, Provenance
from ml_backend.labels.annotator_agreement import agreement
from ml_backend.labels.merge import Annotation


def said(number: int, person: int, shift_px: float, *, without: int | None = None, cancelled: bool = False) -> Annotation:
    """Three points of one view, moved to the right; ``without``: that one was left out."""
    xy = np.array([[[10.0, 10.0], [20.0, 20.0], [30.0, 30.0]]]) + [shift_px, 0.0]
    state = np.full((1, 3), PointState.VISIBLE, dtype=np.int64)
    if without is not None:
        xy[0, without], state[0, without] = np.nan, PointState.UNLABELLED
    placed = state == PointState.VISIBLE
    pose = Pose2D(xy, np.where(placed, 1.0, np.nan), state, np.where(placed, Provenance.PLACED, Provenance.NONE))
    return Annotation(number, person, datetime(2026, 1, number, tzinfo=UTC), {0: pose}, cancelled=cancelled)


def test_two_people_three_pixels_apart() -> None:
    found = agreement([[said(1, 1, 0.0), said(2, 2, 3.0)], [said(3, 1, 0.0), said(4, 2, 5.0, without=1)], [said(5, 1, 0.0)]])
    assert (found.tasks, found.people, found.one_sided) == (2, 2, 1)
    assert sorted(found.distance_px.tolist()) == [3.0, 3.0, 3.0, 5.0, 5.0]
    assert found.by_pair == {(1, 2): 3.0}


def test_only_the_newest_of_each_person_counts_and_skipping_says_nothing() -> None:
    found = agreement([[said(1, 1, 0.0), said(2, 1, 9.0), said(3, 2, 8.0), said(4, 3, 0.0, cancelled=True)]])
    assert (found.tasks, found.people) == (1, 2)
    np.testing.assert_allclose(found.distance_px, 1.0)
    assert agreement([[said(1, 1, 0.0), said(2, 1, 9.0)]]).tasks == 0
    assert agreement([]).tasks == 0
