"""Boxes in task data."""

from __future__ import annotations

import pytest

from label_config.labelling.task_boxes import have_numbers, read_boxes, read_boxes_of_subjects
from label_config.values import BadInputError

VIEWS = ("left", "right")


def test_boxes_by_view() -> None:
    assert read_boxes({"left": [1, 2.5, 30, 40], "right": None}, VIEWS) == {"left": (1.0, 2.5, 30.0, 40.0)}
    assert read_boxes({}, VIEWS) == {}
    assert read_boxes(None, VIEWS) == {}


def test_four_numbers_are_enough_where_one_view_is_shown() -> None:
    assert read_boxes([0, 0, 5, 6], VIEWS[:1]) == {"left": (0.0, 0.0, 5.0, 6.0)}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([0, 0, 5, 6], "expected {view:"),  # which view?
        ("0,0,5,6", "expected {view:"),
        ({"middle": [0, 0, 5, 6]}, "middle"),
        ({"left": [0, 0, 5]}, "left: expected"),
        ({"left": [0, 0, 0, 6]}, "above 0"),
        ({"left": [0, 0, float("nan"), 6]}, "left: expected"),
        ({"left": [0, 0, float("inf"), 6]}, "left: expected"),
        ({"left": [True, 0, 5, 6]}, "left: expected"),
        ({"left": [0, 10**400, 5, 6]}, "left: expected"),
        ({"left": {"x": 0}}, "left: expected"),
    ],
)
def test_what_is_no_box_is_said(value: object, words: str) -> None:
    with pytest.raises(BadInputError, match=words.replace("[", r"\[")):
        read_boxes(value, VIEWS)


A, B = (1.0, 2.0, 30.0, 40.0), (50.0, 2.0, 30.0, 40.0)


def test_several_subjects_are_numbered_by_their_place_or_by_themselves() -> None:
    value = {"left": [list(A), list(B)], "right": [None, list(B)]}
    assert read_boxes_of_subjects(value, VIEWS, 2) == {"left": {0: A, 1: B}, "right": {1: B}}
    named = {"left": [{"id": 1, "box": list(A)}, {"id": 0, "box": list(B)}], "right": list(A)}
    assert read_boxes_of_subjects(named, VIEWS, 2) == {"left": {1: A, 0: B}, "right": {0: A}}
    assert read_boxes_of_subjects([list(A), list(B)], VIEWS[:1], 2) == {"left": {0: A, 1: B}}
    assert read_boxes_of_subjects({"left": [], "right": None}, VIEWS, 2) == {"left": {}}
    assert read_boxes_of_subjects(None, VIEWS, 2) == {}


def test_boxes_without_a_number_stand_under_their_places_and_say_that_nobody_knows_it() -> None:
    value = {"left": [{"box": list(B)}, {"box": list(A)}], "right": [{"id": None, "box": list(A)}]}
    assert read_boxes_of_subjects(value, VIEWS, 1 + 1) == {"left": {0: B, 1: A}, "right": {0: A}}
    assert not have_numbers(value)
    assert have_numbers({"left": [list(A), None], "right": [{"id": 0, "box": list(A)}]})
    assert have_numbers({"left": []})
    assert have_numbers(None)


def test_with_one_subject_boxes_are_what_they_were() -> None:
    assert read_boxes_of_subjects({"left": list(A)}, VIEWS, 1) == {"left": {0: A}}
    with pytest.raises(BadInputError, match=r"got 2 boxes; .* subjects\.max"):
        read_boxes_of_subjects({"left": [list(A), list(B)]}, VIEWS, 1)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"left": [list(A), list(B), list(A)]}, "at most 2 subjects, numbered from 0 to 1"),
        ({"left": [{"id": 7, "box": list(A)}]}, "got number 7"),
        ({"left": [{"id": True, "box": list(A)}]}, "got number True"),
        ({"left": [{"box": list(A)}, {"id": 1, "box": list(B)}]}, "some with and some without"),
        ({"left": [{"box": list(A)}], "right": [list(B)]}, "some with and some without"),
        ({"left": [{"box": list(A)}], "right": list(B)}, "some with and some without"),
        ({"left": [{"box": [1, 2]}]}, "left: expected [x, y"),
        ({"left": [list(A), {"id": 0, "box": list(B)}]}, "two for number 0"),
        ({"left": [{"id": 0, "box": [1, 2]}]}, "left: expected [x, y"),
        ({"middle": [list(A)]}, "middle"),
        ({"left": [[1, 2, 3, "4"]]}, "left: expected [x, y"),
    ],
)
def test_what_is_no_box_of_a_subject_is_said(value: object, words: str) -> None:
    with pytest.raises(BadInputError, match=words.replace("[", r"\[")):
        read_boxes_of_subjects(value, VIEWS, 2)
