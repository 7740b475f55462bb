"""A test takes one way: what it expects is a parameter, not a branch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("test_*.py"))


def branches(node: ast.AST) -> Iterator[ast.stmt]:
    """``if`` and ``match`` below a node, without those of functions and classes inside it: these stand for something else."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If | ast.Match):
            yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from branches(child)


def branching_tests(source: str) -> list[str]:
    """Test and line of every branch in a test."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    tests = [function for function in functions if function.name.startswith("test_")]
    return [f"{test.name}, line {branch.lineno}" for test in tests for branch in branches(test)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(TESTS).as_posix())
def test_no_test_branches(file: Path) -> None:
    assert branching_tests(file.read_text(encoding="utf-8")) == []


def test_the_check_sees_what_it_should() -> None:
    inside = "def test_a():\n    for x in y:\n        if x:\n            pass\n"
    assert branching_tests(inside) == ["test_a, line 3"]
    assert branching_tests("async def test_b():\n    match x:\n        case 1: pass\n") == ["test_b, line 2"]
    assert branching_tests("class TestC:\n    def test_c(self):\n        if x: pass\n") == ["test_c, line 3"]
    stand_in = "def test_d():\n    def answer(x):\n        if x: pass\n    y = 1 if x else 2\n"
    assert branching_tests(stand_in) == []
