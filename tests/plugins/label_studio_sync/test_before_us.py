"""What ``parallax leave`` restores is what stood there before Parallax, never settings of its own."""

from __future__ import annotations

from plugins.label_studio_sync.push_order import before_us


def test_settings_of_an_earlier_set_up_of_ours_are_not_what_was_there_before() -> None:
    left_behind = {"model_version": "px-3.8", "sampling": "Uncertainty sampling", "title": "mice"}
    assert before_us(left_behind) == {"model_version": "", "sampling": "Sequential sampling"}


def test_settings_of_the_team_are() -> None:
    theirs = {"model_version": "yolo", "sampling": "Uncertainty sampling", "title": "mice"}
    assert before_us(theirs) == theirs
