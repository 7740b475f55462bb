"""Which layout shows the pictures of a frame largest without scrolling; the browser tests look at the outcome."""

from __future__ import annotations

import re

import pytest

from label_config.labelling.screen_layout import lay_out

LABELS = [f"keypoint{i}" for i in range(17)]
WIDE, UPRIGHT, SQUARE = (1920, 1080), (1080, 1920), (512, 512)


@pytest.mark.parametrize(
    ("size", "count", "columns"),
    [(WIDE, 1, 1), (WIDE, 2, 1), (WIDE, 4, 2), (WIDE, 6, 2), (UPRIGHT, 2, 2), (UPRIGHT, 4, 4), (UPRIGHT, 6, 3), (SQUARE, 4, 2)],
)
def test_columns_follow_shape_and_number_of_the_pictures(size: tuple[int, int], count: int, columns: int) -> None:
    """Six wide ones at 1920 × 1200: 275 px high in two columns, 269 in three; six upright ones 336 px in three at 1600 × 1000."""
    assert lay_out([size] * count, LABELS).columns == columns


@pytest.mark.parametrize("size", [WIDE, UPRIGHT, SQUARE])
@pytest.mark.parametrize(("count", "screen"), [(4, 1000), (6, 1200)])
def test_all_rows_together_are_not_higher_than_the_window(size: tuple[int, int], count: int, screen: int) -> None:
    layout = lay_out([size] * count, LABELS)
    found = re.fullmatch(r"calc\(\(100vh - (\d+)px\) / (\d+) - (\d+)px\)", layout.max_height)
    assert found is not None
    bars, rows, above = map(int, found.groups())
    picture = (screen - bars) / rows - above
    assert picture > 150
    assert bars + rows * (picture + above) <= screen
    assert rows * layout.columns >= count


def test_few_short_labels_take_one_line_and_many_long_ones_no_more_than_five() -> None:
    assert lay_out([WIDE], ["a", "b"]).chip_lines == 1
    assert lay_out([UPRIGHT] * 4, ["a very long name of a keypoint"] * 60).chip_lines == 5


def test_mixed_shapes_get_one_grid() -> None:
    assert lay_out([WIDE, UPRIGHT, WIDE, UPRIGHT], LABELS).columns in (2, 3, 4)
