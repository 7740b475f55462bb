"""Boxes in task data."""

from __future__ import annotations

import pytest

from label_config.labelling.task_boxes import read_boxes
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
