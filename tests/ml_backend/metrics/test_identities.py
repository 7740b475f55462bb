"""MOTA and IDF1 by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.metrics.identities import Seen, identities

NAN = math.nan


def frame(subjects: tuple[int, ...], found: tuple[int, ...], pairs: dict[tuple[int, int], float]) -> Seen:
    """Distances by (subject, number); all other pairs are too far apart."""
    table = np.array([[pairs.get((subject, number), NAN) for number in found] for subject in subjects])
    return Seen(subjects, found, table.reshape(len(subjects), len(found)))


def test_numbers_that_stay_are_perfect_whatever_they_are() -> None:
    found = identities([[frame((0, 1), (7, 5), {(0, 5): 0.1, (1, 7): 0.2})] * 4])
    assert (found.mota, found.idf1, found.switches, found.subjects) == (1.0, 1.0, 0, 8)


def test_an_exchange_of_numbers_is_two_switches() -> None:
    right, wrong = {(0, 0): 0.1, (1, 1): 0.1}, {(0, 1): 0.1, (1, 0): 0.1}
    found = identities([[frame((0, 1), (0, 1), pairs) for pairs in (right, right, right, wrong)]])
    assert (found.switches, found.missed, found.spurious) == (2, 0, 0)
    assert found.mota == pytest.approx(1 - 2 / 8)
    assert found.idf1 == pytest.approx(2 * 6 / 16), "as the numbers stood for longest, six of eight finds are right"


def test_a_pair_that_still_holds_is_kept_though_another_is_nearer() -> None:
    first = frame((0, 1), (0, 1), {(0, 0): 0.1, (1, 1): 0.1})
    crossing = frame((0, 1), (0, 1), {(0, 0): 0.4, (0, 1): 0.1, (1, 1): 0.4, (1, 0): 0.1})
    assert identities([[first, crossing]]).switches == 0


def test_misses_and_strangers_count_and_a_gap_is_remembered() -> None:
    frames = [
        frame((0,), (3,), {(0, 3): 0.1}),
        frame((0,), (), {}),
        frame((), (8,), {}),
        frame((0,), (4,), {(0, 4): 0.1}),
    ]
    found = identities([frames])
    assert (found.switches, found.missed, found.spurious, found.subjects) == (1, 1, 1, 3)
    assert found.mota == pytest.approx(0.0)
    assert found.idf1 == pytest.approx(2 * 1 / (3 + 3))


def test_recordings_do_not_know_each_other() -> None:
    one, other = frame((0,), (0,), {(0, 0): 0.1}), frame((0,), (1,), {(0, 1): 0.1})
    assert identities([[one], [other]]).switches == 0
    assert identities([[one, other]]).switches == 1


def test_as_many_pairs_as_possible_come_before_near_ones() -> None:
    found = identities([[frame((0, 1), (0, 1), {(0, 0): 0.01, (0, 1): 0.4, (1, 0): 0.45})]])
    assert (found.missed, found.spurious) == (0, 0)


def test_nothing_there_is_not_a_number() -> None:
    assert math.isnan(identities([]).mota)
    assert math.isnan(identities([[frame((), (), {})]]).idf1)
    assert identities([[frame((), (2,), {})]]).idf1 == 0.0


def test_shapes_are_checked() -> None:
    with pytest.raises(BadInputError, match=r"expected distances of shape \(1, 2\), got \(2, 2\)"):
        Seen((0,), (1, 2), np.zeros((2, 2)))
