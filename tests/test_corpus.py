"""Everything that ``make fuzz`` ever found, once more: it breaks nothing now."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import CORPUS, READERS, VALUES, Try, attempt

FOUND = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Try]]:
    """What takes one input, by name."""
    with ExitStack() as stack:
        opened = {name: stack.enter_context(make(tmp_path_factory.mktemp(name))) for name, (_, make) in VALUES.items()}
        yield opened


def reader(target: str, folder: Path) -> Try:
    """Reads a damaged file."""
    module, name, *arguments = target.split(":")
    path, read = getattr(importlib.import_module(module), name)(folder, *arguments)

    def take(raw: bytes) -> None:
        path.write_bytes(raw)
        read(path)

    return take


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name} {path.name}")
def test_what_was_found_breaks_nothing(path: Path, tries: dict[str, Try], tmp_path: Path) -> None:
    target = path.parent.name.replace("+", ":")
    act = tries.get(target) or reader(target, tmp_path)
    assert attempt(act, path.read_bytes()) is None


def test_every_folder_of_the_corpus_is_of_a_target() -> None:
    assert {path.parent.name.replace("+", ":") for path in FOUND} <= {*VALUES, *READERS}


@pytest.mark.parametrize("name", VALUES)
def test_drawn_inputs_break_nothing(name: str, tries: dict[str, Try]) -> None:
    """Others than ``make fuzz`` draws; a few."""
    draw = VALUES[name][0]
    broken: dict[bytes, Any] = {}
    for number in range(30):
        raw = draw(random.Random(f"few {name} {number}"))
        why = attempt(tries[name], raw)
        broken |= {} if why is None else {raw: why}
    assert broken == {}
