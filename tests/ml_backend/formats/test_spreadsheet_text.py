"""Names that a spreadsheet would run: shown as text in our own tables, refused in those of other tools."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from label_config.values import BadInputError, FrameKey
from label_config.values.spreadsheet_text import runs
from ml_backend.formats.anipose_files import WorldTrack, write_anipose_tracks
from ml_backend.formats.point_table import write_point_table
from ml_backend.formats.points_world import write_points_world
from ml_backend.formats.track_tables import write_track_csv

NAMES = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", " =1", "\uff1d1", '=HYPERLINK("http://h")']


@pytest.mark.parametrize("name", NAMES)
def test_our_own_tables_show_it_as_text(tmp_path: Path, name: str) -> None:
    write_track_csv(tmp_path / "t.csv", np.array([0]), None, {f"{name}_x": np.array([-1.5])})
    one = np.zeros((1, 1))
    write_points_world(tmp_path / "w.csv", [FrameKey("-s", 0)], [name], np.full((1, 1, 3), -2.0), one, one == 0, "mm")
    for path in (tmp_path / "t.csv", tmp_path / "w.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert not any(map(runs, header))
        assert any(cell.startswith("'") for cell in header)
        assert any(cell.startswith("-") for cell in rows[0])  # a number is a number


TABLES: dict[str, Callable[[str], dict[str, object]]] = {
    "scorer": lambda name: {"scorer": name},
    "individuals": lambda name: {"individuals": (name,)},
    "keypoints": lambda name: {"bodyparts": (name,)},
    "pictures": lambda name: {"rows": (name,)},
}


@pytest.mark.parametrize("place", TABLES)
@pytest.mark.parametrize("name", NAMES)
def test_tables_of_tools_are_refused_and_nothing_is_written(tmp_path: Path, place: str, name: str) -> None:
    plain = {"scorer": "s", "individuals": ("",), "bodyparts": ("nose",), "coords": ("x", "y"), "rows": ("a.png",)}
    with pytest.raises(BadInputError, match="would run as a formula"):
        write_point_table(tmp_path / "t.csv", values=np.zeros((1, 1, 1, 2)), **{**plain, **TABLES[place](name)})  # type: ignore[arg-type]
    assert not (tmp_path / "t.csv").exists()


def test_a_table_of_anipose_is_refused(tmp_path: Path) -> None:
    one = np.zeros((1, 1))
    track = WorldTrack("mm", np.array([0]), np.zeros((1, 1, 3)), one, one.astype(np.int64), one)
    with pytest.raises(BadInputError, match="would run as a formula"):
        write_anipose_tracks([], ("=1",), {"s": track}, tmp_path / "out")
    assert list((tmp_path / "out").rglob("*.csv")) == []
