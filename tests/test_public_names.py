"""What people are told to import: each of these modules says in ``__all__`` what it promises to keep."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
OURS = ("label_config", "ml_backend", "plugins")
#: Module → its names.  A name that leaves breaks somebody's network, model or score: CHANGELOG.md says so under Changed.
PUBLIC = {
    "label_config.values.prediction": {"Output", "Prediction", "by_keypoint_name", "joined", "predicted_pose", "stacked"},
    "ml_backend.acquisition.score": {"Chunk", "Context", "Labelled", "Need", "Score", "Scores", "State"},
    "ml_backend.pose.adapter": {"PoseModel"},
    "ml_backend.pose.networks": {
        "NETWORKS", "HeadKind", "Part", "PoseNetwork", "PoseOutput", "build_network", "map_shapes", "part_of", "takes",
    },
}  # fmt: skip


@pytest.mark.parametrize("module", PUBLIC)
def test_a_module_exports_what_it_promises(module: str) -> None:
    found = importlib.import_module(module)
    assert set(found.__all__) == PUBLIC[module]
    assert [name for name in found.__all__ if not hasattr(found, name)] == []


def imports(page: str) -> Iterator[tuple[str, str]]:
    """(module, name) of ours that the Python blocks of a page import."""
    for block in re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
                yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_import_public_names_alone(page: Path) -> None:
    wanted = list(imports(page.read_text(encoding="utf-8")))
    assert [(module, name) for module, name in wanted if name not in PUBLIC.get(module, ())] == []


def test_the_check_sees_what_it_should() -> None:
    assert {module for page in PAGES for module, _ in imports(page.read_text(encoding="utf-8"))} >= {"ml_backend.pose.networks"}
    assert list(imports("```python\nfrom plugins.cli import x\n```\n")) == [("plugins.cli", "x")]
