"""Edit distance of submitted annotations in closed form."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError, PointState, Pose2D, Provenance
from ml_backend.labels.edit_distance import Edit, EditDistance, edit_distance

V, A, U = PointState.VISIBLE, PointState.ABSENT, PointState.UNLABELLED


def pose(points: Any, state: Any = None, provenance: Any = Provenance.PLACED) -> Any:
    """One view; ``points`` holds (x, y) or None."""
    xy = np.array([[(np.nan, np.nan) if p is None else p for p in points]], dtype=float)
    placed = np.isfinite(xy).all(axis=-1)
    states = np.where(placed, V, U) if state is None else np.array([state])
    origin = np.where(placed, provenance, Provenance.NONE) if np.isscalar(provenance) else np.array([provenance])
    return Pose2D(xy, np.where(placed, 1.0, np.nan), states.astype(np.int64), origin.astype(np.int64))


SHOWN = pose([(10, 10), (20, 20), (30, 30), None, None, (60, 60)], provenance=Provenance.PREDICTED)
SUBMITTED = pose(
    [(10, 10), (23, 24), None, (40, 40), None, (61, 60)],
    state=[V, V, A, V, U, V],
    provenance=[Provenance.ACCEPTED, Provenance.PLACED, 0, Provenance.PLACED, 0, Provenance.PLACED],
)


def test_every_status_and_its_distance() -> None:
    edit = edit_distance(SHOWN, SUBMITTED)
    assert edit.status[0].tolist() == [Edit.UNTOUCHED, Edit.MOVED, Edit.REMOVED, Edit.ADDED, Edit.NOTHING, Edit.MOVED]
    np.testing.assert_allclose(edit.distance_px[0], [0, 5, np.nan, np.nan, np.nan, 1])
    assert edit.median_px == 1  # of 0, 5, 1
    assert edit.moved_median_px == 3
    assert edit.share_untouched == 1 / 4  # of untouched, two moved, one removed


def test_untouched_is_what_the_platform_says_not_what_lies_close() -> None:
    shown = pose([(10, 10), (20, 20)], provenance=Provenance.PREDICTED)
    same_place = pose([(10, 10), (20.0001, 20)], provenance=[Provenance.PLACED, Provenance.ACCEPTED])
    edit = edit_distance(shown, same_place)
    assert edit.status[0].tolist() == [Edit.MOVED, Edit.UNTOUCHED]
    assert edit.distance_px[0, 1] == 0


def test_a_task_that_opened_empty_has_only_additions() -> None:
    edit = edit_distance(None, SUBMITTED)
    assert edit.count(Edit.ADDED) == 4
    assert math.isnan(edit.share_untouched)
    assert math.isnan(edit.median_px)


def test_an_empty_submission_removes_what_was_shown() -> None:
    edit = edit_distance(SHOWN, Pose2D.empty(1, 6))
    assert edit.count(Edit.REMOVED) == 4
    assert edit.share_untouched == 0


def test_json_round_trip_has_no_nan() -> None:
    import json

    edit = edit_distance(SHOWN, SUBMITTED)
    text = json.dumps(edit.to_json(), allow_nan=False)
    back = EditDistance.from_json(json.loads(text))
    np.testing.assert_array_equal(back.status, edit.status)
    np.testing.assert_array_equal(back.distance_px, edit.distance_px)
    assert json.loads(text)["moved"] == 2
    assert json.loads(json.dumps(edit_distance(None, SUBMITTED).to_json(), allow_nan=False))["median_px"] is None


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_each_point_has_one_status_and_a_distance_exactly_when_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def some() -> Any:
        xy = np.where(rng.random((3, 5, 1)) < 0.6, rng.uniform(0, 100, (3, 5, 2)), np.nan)
        placed = np.isfinite(xy).all(axis=-1)
        provenance = np.where(placed, rng.choice([Provenance.PLACED, Provenance.ACCEPTED], (3, 5)), 0)
        return Pose2D(xy, np.where(placed, 1.0, np.nan), placed.astype(np.int64), provenance.astype(np.int64))

    shown, submitted = some(), some()
    edit = edit_distance(shown, submitted)
    assert sum(edit.count(e) for e in Edit) == 15
    assert (np.isfinite(edit.distance_px) == (shown.placed & submitted.placed)).all()


def test_other_shapes_are_named() -> None:
    with pytest.raises(BadInputError, match=r"\(1, 6\) and \(2, 6\)"):
        edit_distance(SHOWN, Pose2D.empty(2, 6))
