"""One word for each thing: the words that docs/glossary.md replaces stay out of pages and code.

The table at the end of the glossary is the word list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_import_rules import MODULES, room_of

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
HEADING = "## Words that are not used"
#: Pages that keep the words of their time.
HISTORY = ("CHANGELOG.md",)
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("api/*.md")]
    if page.name not in HISTORY
)
#: Names in settings, files and the database, which stay as they are.
STORED = (
    "blind_random",
    '"blind"',
    "row.blind",
    "per_joint",
    "mean_joint",
    "joint-mean-aligned",
    '"joints"',
    "'joints'",
    "joints.mat",
    "joint_3d",
    "joint_valid",
)
ROOMS = sorted({room_of(module) for module in MODULES})


def replacements() -> dict[str, str]:
    """Word that is not used → what to write, from the glossary's table."""
    table = GLOSSARY.read_text(encoding="utf-8").partition(HEADING)[2]
    rows = [row.strip("| \n").split(" | ") for row in re.findall(r"^\|.+\|$", table, flags=re.MULTILINE)[2:]]
    return {word.lower(): write for words, write in rows for word in words.split(" · ")}


def found_in(text: str) -> Iterator[str]:
    """Every word of the list in a text, with its line and what to write."""
    write = replacements()
    pattern = re.compile(
        r"(?<![\w-])(" + "|".join(re.escape(word) for word in sorted(write, key=len, reverse=True)) + r")(?![\w-])"
    )
    for number, line in enumerate(text.splitlines(), start=1):
        for stored in STORED:
            line = line.replace(stored, "")
        for word in pattern.findall(line.lower()):
            yield f"line {number}: {word!r}; write {write[word]}"


def prose(page: Path) -> str:
    """A page without the glossary's list, and without tables that are written from code."""
    text = page.read_text(encoding="utf-8").partition(HEADING)[0]
    return re.sub(r"<!-- table.*?: begin -->.*?<!-- table.*?: end -->", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)


def names_apart(source: str) -> str:
    """Source in which ``told_by`` and ``ToldBy`` are two words each, and settings keep their names."""
    for stored in STORED:
        source = source.replace(stored, "")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", source.replace("_", " "))


def words_of(room: str) -> Iterator[str]:
    """Every word of the list in the modules of a room, with the file."""
    for path in (path for module, path in MODULES.items() if room_of(module) == room):
        for hit in found_in(names_apart(path.read_text(encoding="utf-8"))):
            yield f"{path.relative_to(ROOT)}, {hit}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_use_the_words_of_the_glossary(page: Path) -> None:
    assert list(found_in(prose(page))) == []


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_use_the_words_of_the_glossary(room: str) -> None:
    assert list(words_of(room)) == []


def test_the_check_sees_what_it_should() -> None:
    assert "judge" in replacements()
    assert list(found_in("per-joint, colour-blind, blind_random, blindfold")) == []
    assert [hit.partition(";")[0] for hit in found_in("Yes.\nIt Judges.")] == ["line 2: 'judges'"]
    assert len(list(found_in(names_apart("class InSpace: told_by")))) == 2
