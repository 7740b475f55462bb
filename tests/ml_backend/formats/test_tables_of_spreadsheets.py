"""CSV tables as spreadsheets and scripts leave them: read as they were meant, or refused with line and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.formats.dlc import read_dlc

PLAIN = "scorer,Zoë,Zoë,Zoë,Zoë\nbodyparts,a,a,b,b\ncoords,x,y,x,y\ns/i1.png,1.5,2,3,4\ns/i2.png,5,6,,\n"


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (PLAIN.encode(), None),
        (PLAIN.encode("utf-8-sig"), None),
        (PLAIN.encode("utf-16"), "the file is UTF-16"),
        (PLAIN.encode("cp1252"), "the file is not UTF-8; it was read as Windows-1252"),
        (PLAIN.replace(",", ";").encode(), "cells are separated by semicolons"),
        (PLAIN.replace(",", ";").replace(".5", ",5").encode(), "numbers have a decimal comma"),
        (PLAIN.replace(",", "\t").encode(), "cells are separated by tabs"),
        (PLAIN.replace(",,\n", ",NA,NaN\n").encode(), None),
        (PLAIN.replace(",,\n", ",#N/A,null\n").encode(), None),
        (PLAIN.replace(",,\n", "\n").encode(), "1 rows end early; the cells that they lack were read as empty"),
        (PLAIN.replace("\n", "\r\n").encode() + b"\r\n,,,,\r\n", None),
    ],
)
def test_the_same_labels_in_every_dress(data: bytes, note: str | None, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(data)
    found = read_dlc(tmp_path / "c.csv")
    assert [label.image.source for label in found.labels] == ["s/i1.png", "s/i2.png"]
    np.testing.assert_array_equal(found.labels[0].xy_px, [[1.5, 2], [3, 4]])
    np.testing.assert_array_equal(found.labels[1].xy_px, [[5, 6], [np.nan, np.nan]])
    assert found.labels[0].people == ("Zoë",)
    assert note is None or note in found.notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            PLAIN.replace("bodyparts,a,a,b,b", "bodyparts,a,a,b,Unnamed: 4_level_1"),
            "column 5: header row 'bodyparts' names nothing",
        ),
        (PLAIN.replace("coords,x,y,x,y", "coords,x,y,x,Unnamed: 4"), "column 5: header row 'coords' names nothing"),
        (PLAIN.replace(",6,", ",inf,"), r"c\.csv:5: column 3: expected a number or nothing, got 'inf'"),
        (PLAIN.replace(",6,", ",1_0,"), r"c\.csv:5: column 3: expected a number"),
        (PLAIN.replace("s/i2.png", ""), r"c\.csv:5: column 1: expected the name of a picture"),
        (PLAIN.replace("s/i2.png", "s/i1.png"), "row 4 and row 5 label the same picture 's/i1.png' differently"),
        (PLAIN.replace("coords", "scorer"), r"c\.csv:3: header row 'scorer' appears twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_dlc(tmp_path / "c.csv")


def test_a_row_that_repeats_another_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(PLAIN + "s/i1.png,1.5,2,3,4\n")
    found = read_dlc(tmp_path / "c.csv")
    assert len(found.labels) == 2
    assert found.notes == ("1 repeated rows were read once",)


def test_header_cells_that_pandas_named_are_empty(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(
        "scorer,Unnamed: 1_level_0,Unnamed: 2_level_0,me,me\nbodyparts,Unnamed: 1_level_1,Unnamed: 2_level_1,a,a\n"
        "coords,Unnamed: 1_level_2,Unnamed: 2_level_2,x,y\nlabeled-data,cam1,i1.png,1,2\nlabeled-data,cam2,i1.png,3,4\n"
    )
    found = read_dlc(tmp_path / "c.csv")
    assert [label.image.source for label in found.labels] == ["labeled-data/cam1/i1.png", "labeled-data/cam2/i1.png"]
