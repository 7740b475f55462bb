"""One root of all loggers, and ``--verbose``."""

from __future__ import annotations

import ast
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.cli.conftest import Run
from tests.test_import_rules import MODULES


def loggers(source: str) -> Iterator[str]:
    """What ``getLogger`` is called with."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "getLogger":
            yield ast.unparse(node.args[0])


def test_every_logger_lies_below_one_root() -> None:
    named = {name for path in MODULES.values() for name in loggers(path.read_text(encoding="utf-8"))}
    assert len(named) > 5
    assert {name for name in named if not name.startswith(("'parallax.", "'parallax'"))} == set()


@pytest.fixture
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PARALLAX_VERBOSE", "")
    ours, root = logging.getLogger("parallax"), logging.getLogger()
    before = ours.level, list(root.handlers)
    yield
    ours.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.mark.usefixtures("_as_it_was")
@pytest.mark.parametrize(("options", "level"), [([], logging.WARNING), (["-v"], logging.DEBUG), (["--verbose"], logging.DEBUG)])
def test_the_option_reaches_all_our_loggers_and_the_processes_that_are_started(options: list[str], level: int, run: Run) -> None:
    assert run(*options, "version").exit_code == 0
    assert logging.getLogger("parallax.jobs").getEffectiveLevel() == level
    assert logging.getLogger("httpx").getEffectiveLevel() == logging.WARNING, "other libraries stay quiet"
    assert os.environ["PARALLAX_VERBOSE"] == ("1" if options else "")


@pytest.mark.parametrize(("variable", "lines"), [("", 0), ("1", 1)])
def test_a_started_process_logs_when_its_parent_does(variable: str, lines: int, tmp_path: Path) -> None:
    code = (
        "import logging, sys; from plugins.cli.main import app; sys.argv = ['parallax', 'version']\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "logging.getLogger('parallax.jobs').info('job 1 begins'); logging.getLogger('httpx').info('GET /')"
    )
    environment = {**os.environ, "PARALLAX_VERBOSE": variable}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert [line.split(" INFO ")[1] for line in ended.stderr.splitlines() if " INFO " in line] == [
        "parallax.jobs: job 1 begins"
    ] * lines
