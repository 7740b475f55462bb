"""Names of files out of names that somebody made up."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_config.values.file_names import file_name, inner_path


@pytest.mark.parametrize(
    ("text", "name", "path"),
    [
        ("left", "left", "left"),
        ("day 1/run", "day 1_run", "day 1/run"),
        ("../../a", ".._.._a", "__/__/a"),
        ("..", "__", "__"),
        ("", "_", "_"),
        ("/etc/passwd", "_etc_passwd", "etc/passwd"),
        ("a\\\\b:c", "a__b_c", "a__b_c"),
        ("Käfig 3", "Käfig 3", "Käfig 3"),
    ],
)
def test_names(text: str, name: str, path: str) -> None:
    assert (file_name(text), inner_path(text)) == (name, path)


@given(st.text(alphabet=st.characters(), max_size=300))
def test_any_text_gives_a_path_that_leads_down(text: str) -> None:
    for made in (file_name(text), inner_path(text)):
        path = PurePosixPath(made)
        assert made
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert all(len(part.encode()) <= 200 for part in path.parts)
    assert "/" not in file_name(text)


def test_no_other_module_makes_names_safe_in_a_way_of_its_own() -> None:
    """One home: a second list of forbidden characters would forget one."""
    root = Path(__file__).resolve().parents[2]
    files = [path for room in ("label_config", "ml_backend", "plugins") for path in (root / room).rglob("*.py")]
    assert [path.name for path in files if '*?"<>' in path.read_text(encoding="utf-8")] == ["file_names.py"]
