"""Merging several people's annotations of one task."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, PointState, Pose2D, Provenance
from ml_backend.labels.merge import Annotation, Merged, merge_annotations

V, H, A, U = PointState.VISIBLE, PointState.OCCLUDED, PointState.ABSENT, PointState.UNLABELLED
NOON = datetime(2026, 1, 1, 12)


def pose(xs: Any, states: Any = None, provenance: Any = Provenance.PLACED) -> Any:
    """One view, points at (x, 0); None = without coordinates."""
    xy = np.array([[(np.nan, np.nan) if x is None else (x, 0.0) for x in xs]], dtype=float)
    placed = np.isfinite(xy).all(axis=-1)
    state = np.where(placed, V, U) if states is None else np.array([states])
    return Pose2D(xy, np.where(placed, 1.0, np.nan), state.astype(np.int64), np.where(placed, provenance, 0).astype(np.int64))


def annotation(number: Any, person: Any, xs: Any = (1.0,), minutes: Any = 0, states: Any = None, **more: Any) -> Any:
    poses = {0: pose(xs, states)} if xs is not None else {}
    return Annotation(number, person, NOON + timedelta(minutes=minutes), poses, **more)


def merged_from(annotations: list[Annotation]) -> Merged:
    """What they come to, where somebody said something."""
    merged = merge_annotations(annotations)
    assert merged is not None
    return merged


def test_one_annotation_is_itself() -> None:
    merged = merged_from([annotation(7, "a", (1.0, None, 3.0), states=[V, A, H])])
    np.testing.assert_array_equal(merged.poses[0].xy_px[0, :, 0], [1, np.nan, 3])
    assert merged.poses[0].state[0].tolist() == [V, A, H]
    assert (merged.used, merged.people, merged.ground_truth) == ((7,), 1, False)


def test_people_whose_accounts_are_gone_are_not_one_person() -> None:
    merged = merged_from([annotation(n, None, (x,)) for n, x in ((1, 10.0), (2, 20.0), (3, 60.0))])
    assert (merged.used, merged.people) == ((1, 2, 3), 3)
    np.testing.assert_array_equal(merged.poses[0].xy_px[0, :, 0], [20.0])


def test_newest_of_each_person_counts_and_ties_go_to_the_higher_id() -> None:
    merged = merged_from(
        [annotation(1, "a", (100.0,), minutes=5), annotation(2, "a", (10.0,), minutes=9), annotation(3, "a", (20.0,), minutes=9)]
    )
    assert merged.used == (3,)
    assert merged.poses[0].xy_px[0, 0, 0] == 20


def test_newest_is_by_time_of_the_last_edit_not_by_id() -> None:
    merged = merged_from([annotation(1, "a", (10.0,), minutes=9), annotation(2, "a", (20.0,), minutes=5)])
    assert merged.used == (1,)


def test_cancelled_ones_do_not_count_and_may_leave_nothing() -> None:
    skipped = annotation(1, "a", None, minutes=9, cancelled=True)
    assert merge_annotations([skipped]) is None
    assert merge_annotations([]) is None
    assert merged_from([skipped, annotation(2, "b", (5.0,))]).used == (2,)


@pytest.mark.parametrize(("xs", "expected"), [([1, 9], 5), ([1, 2, 30], 2), ([1, 2, 4, 100], 3)])
def test_the_median_over_people_counts(xs: Any, expected: Any) -> None:
    merged = merged_from([annotation(i, i, (float(x),)) for i, x in enumerate(xs)])
    assert merged.poses[0].xy_px[0, 0, 0] == expected


@pytest.mark.parametrize(
    ("states", "merged_state"),
    [
        ([V, V, A], V),
        ([V, A, A], A),
        ([V, A], V),  # a tie keeps the point
        ([U, U, V], V),  # unlabelled abstains
        ([U, U, A], A),
        ([U, U], U),
        ([V, H, H], H),
        ([V, H], V),
        ([V, H, A, A], V),  # placed by two, absent for two
        ([H, A, A, A], A),
    ],
)
def test_states_by_majority(states: Any, merged_state: Any) -> None:
    people = [annotation(i, i, (float(i) if s in (V, H) else None, 1.0), states=[s, V]) for i, s in enumerate(states)]
    merged = merged_from(people)
    assert merged.poses[0].state[0, 0] == merged_state
    assert merged.poses[0].placed[0, 0] == (merged_state in (V, H))
    assert np.isfinite(merged.poses[0].confidence[0, 0]) == (merged_state in (V, H))


def test_empty_annotations_abstain_and_alone_are_empty() -> None:
    alone = merged_from([annotation(1, "a", None), annotation(2, "b", (None, None))])
    assert alone.empty
    assert alone.people == 2
    with_a_point = merged_from([annotation(1, "a", None), annotation(2, "b", (3.0,))])
    assert not with_a_point.empty
    assert with_a_point.poses[0].xy_px[0, 0, 0] == 3


def test_ground_truth_wins_over_later_and_more_annotations() -> None:
    merged = merged_from(
        [
            annotation(1, "boss", (50.0,), ground_truth=True),
            annotation(2, "a", (1.0,), minutes=5),
            annotation(3, "b", (2.0,), minutes=6),
        ]
    )
    assert (merged.used, merged.ground_truth) == ((1,), True)
    assert merged.poses[0].xy_px[0, 0, 0] == 50
    skipped = annotation(4, "boss", (9.0,), ground_truth=True, cancelled=True)
    assert merged_from([skipped, annotation(5, "a")]).used == (5,)


def test_subjects_are_merged_apart() -> None:
    first = Annotation(1, "a", NOON, {0: pose((1.0,)), 2: pose((100.0,))})
    second = Annotation(2, "b", NOON, {0: pose((3.0,))})
    merged = merged_from([first, second])
    assert merged.poses[0].xy_px[0, 0, 0] == 2
    assert merged.poses[2].xy_px[0, 0, 0] == 100


def test_a_point_that_anybody_placed_is_placed_and_else_accepted() -> None:
    accepted = Annotation(1, "a", NOON, {0: pose((1.0, 1.0), provenance=Provenance.ACCEPTED)})
    placed = Annotation(2, "b", NOON, {0: pose((1.0, None))})
    merged = merged_from([accepted, placed])
    assert merged.poses[0].provenance[0].tolist() == [Provenance.PLACED, Provenance.ACCEPTED]


def test_the_order_of_the_input_does_not_matter() -> None:
    people = [annotation(i, i % 3, (float(i), 2.0), minutes=i) for i in range(6)]
    forward, backward = merged_from(people), merged_from(people[::-1])
    assert forward.used == backward.used == (3, 4, 5)
    np.testing.assert_array_equal(forward.poses[0].xy_px, backward.poses[0].xy_px)


def test_poses_of_different_bindings_are_refused() -> None:
    with pytest.raises(BadInputError, match="annotations 1, 2: their poses differ in shape"):
        merged_from([annotation(1, "a", (1.0,)), annotation(2, "b", (1.0, 2.0))])
