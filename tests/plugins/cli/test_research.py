"""Research is an extra: what it needs is asked for in words, and nothing points at a developer's folder."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from plugins.cli.main import app
from tests.plugins.cli.conftest import Run
from tests.test_import_rules import MODULES


def parameters(command: Any) -> Iterator[tuple[str, object]]:
    """Every option and argument of a command and of those below it, with its default."""
    yield from ((f"{command.name} {parameter.name}", parameter.default) for parameter in command.params)
    for below in getattr(command, "commands", {}).values():
        yield from parameters(below)


def test_no_default_leaves_the_folder_of_the_call() -> None:
    paths = {name: Path(str(default)) for name, default in parameters(get_command(app)) if default is not None}
    assert len(paths) > 20
    assert [name for name, path in paths.items() if path.is_absolute() or ".." in path.parts] == []


def test_a_labelled_recording_needs_its_folder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARALLAX_DATA", raising=False)
    folders = ("--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"))
    result = run("simulate", "--dataset", "dlc_openfield", "--strategies", "random", "--seeds", "1", *folders)
    assert result.exit_code == 1
    assert "no folder of recordings was given" in result.output
    assert "--data" in result.output


def test_without_the_extra_it_says_what_to_install(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "matplotlib" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    result = run("simulate", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "pip install 'label-studio-parallax[research]'" in result.output
    assert list(tmp_path.iterdir()) == [], "before hours of simulation, not after"


def test_only_research_draws() -> None:
    nodes = [(name, node) for name, path in MODULES.items() for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    imported = [(name, node.module or "") for name, node in nodes if isinstance(node, ast.ImportFrom)]
    imported += [(name, alias.name) for name, node in nodes if isinstance(node, ast.Import) for alias in node.names]
    assert {name.split(".")[1] for name, module in imported if module.split(".")[0] == "matplotlib"} == {"simulation"}
