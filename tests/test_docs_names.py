"""What pages say of code and tests exists: docs/methods.md, docs/papers.md, docs/architecture.md and CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from label_config.settings.spec import Spec
from label_config.values import ParallaxError
from ml_backend.acquisition.score_registry import make_scores
from ml_backend.simulation.experiments.arms import parse_arms
from tests.test_import_rules import MODULES, ROOT

PAGES = [ROOT / "CONTRIBUTING.md", *(ROOT / "docs" / name for name in ("methods.md", "papers.md", "architecture.md"))]
DOTTED = re.compile(r"`((?:label_config|ml_backend|plugins)(?:\.\w+)+)`")
TESTS = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")
FILES = re.compile(r"`((?:label_config|ml_backend|plugins|tests|bench|docs|docker)/[\w/.-]+)`")


@cache
def members(path: Path) -> frozenset[str]:
    """What a module defines at its top, and in its classes as ``Class.name``."""
    return frozenset(_defined(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.ClassDef():
                yield prefix + node.name
                yield from _defined(node.body, f"{prefix}{node.name}.")
            case ast.FunctionDef():
                yield prefix + node.name
            case ast.Assign():
                yield from (prefix + target.id for target in node.targets for target in [target] if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name


def exists(dotted: str) -> bool:
    """A module, or something that a module defines."""
    parts = dotted.split(".")
    splits = [(".".join(parts[:end]), ".".join(parts[end:])) for end in range(len(parts), 0, -1)]
    return any(module in MODULES and (not name or name in members(MODULES[module])) for module, name in splits)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_what_is_in_them_exist(page: Path) -> None:
    assert [name for name in DOTTED.findall(page.read_text(encoding="utf-8")) if not exists(name)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_exist(page: Path) -> None:
    named = TESTS.findall(page.read_text(encoding="utf-8"))
    assert [file for file, _ in named if not (ROOT / file).is_file()] == []
    assert [(file, name) for file, name in named if f"def {name}" not in (ROOT / file).read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_folders_exist(page: Path) -> None:
    assert [name for name in FILES.findall(page.read_text(encoding="utf-8")) if not (ROOT / name).exists()] == []


def test_every_row_of_the_papers_names_code_and_a_test() -> None:
    rows = re.findall(r"^\| .+ \|$", (ROOT / "docs" / "papers.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = [row for row in rows if not row.startswith("| in the paper")]
    assert len(named) > 30
    assert [row for row in named if not (DOTTED.search(row) and TESTS.search(row))] == []


def ways_to_run() -> list[str]:
    """What stands in backquotes in the column "how to run it"."""
    rows = re.findall(r"^\| .+ \|$", (ROOT / "docs" / "papers.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    cells = [row.split(" | ")[3] for row in rows if not row.startswith("| in the paper")]
    assert [cell for cell in cells if not ("`" in cell or cell in ("always", "see the last column"))] == []
    return sorted({way for cell in cells for way in re.findall(r"`([^`]+)`", cell)})


def runs(way: str) -> None:
    """Raises when a command, an option, a score, a parameter or a setting does not exist."""
    words = way.split()
    if words[0] == "parallax":
        source = (ROOT / "plugins" / "cli" / "commands" / f"{words[1]}.py").read_text(encoding="utf-8")
        options = [word[2:].replace("-", "_") for word in words if word.startswith("--")]
        assert [name for name in options if not re.search(rf"^    {name}: Annotated", source, flags=re.MULTILINE)] == [], way
        if "--strategies" in words:
            parse_arms(words[words.index("--strategies") + 1])
        return
    name, _, value = way.partition(": ")
    if name.startswith("scores."):
        _, score, *parameter = name.split(".")
        make_scores({score: dict(zip(parameter, [yaml.safe_load(value)], strict=False))})
        return
    *sections, field = name.split(".")
    model: Any = Spec
    for section in sections:
        model = model.model_fields[section].annotation
    if value:
        model(**{field: yaml.safe_load(value)})
    assert field in model.model_fields


@pytest.mark.parametrize("way", ways_to_run())
def test_how_to_run_a_row_of_the_papers_exists(way: str) -> None:
    runs(way)


@pytest.mark.parametrize("way", ["parallax simulate --nothing", "scores.nothing", "train.nothing", "stop.rule: no"])
def test_the_check_sees_a_way_that_is_not_there(way: str) -> None:
    with pytest.raises((AssertionError, AttributeError, KeyError, ValueError, ParallaxError)):
        runs(way)


@pytest.mark.parametrize(
    "name", ["ml_backend.geometry.nothing", "ml_backend.geometry.pictorial.nothing", "plugins.cli.main.app.x"]
)
def test_the_check_sees_what_is_not_there(name: str) -> None:
    assert not exists(name)
