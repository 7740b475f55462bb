"""The releases that the live tests run on are the ones that doctor and documentation name."""

from __future__ import annotations

import re
from pathlib import Path

from plugins.label_studio_sync.client import TESTED_VERSIONS
from tests.matrix import COVERING

ROOT = Path(__file__).resolve().parents[1]


def pinned(path: Path) -> str:
    (version,) = re.findall(r"^label-studio==(\S+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return str(version)


def test_an_environment_holds_the_release_that_it_is_called_after() -> None:
    files = sorted((ROOT / "tests" / "releases").glob("*.txt"))
    assert [pinned(path) for path in files] == [path.stem for path in files]


def test_the_tested_range_is_what_is_tested_and_the_page_names_every_release() -> None:
    older = [path.stem for path in (ROOT / "tests" / "releases").glob("*.txt")]
    releases = sorted([*older, pinned(ROOT / "constraints-label-studio.txt")], key=lambda text: [*map(int, text.split("."))])
    assert (releases[0], releases[-1]) == TESTED_VERSIONS
    page = (ROOT / "docs" / "label-studio-versions.md").read_text(encoding="utf-8")
    assert [release for release in releases if f"| {release} |" not in page] == []


def test_the_covering_set_is_there() -> None:
    assert [path for path in COVERING if not (ROOT / path).exists()] == []
