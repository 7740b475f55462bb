import ast
import sys
from pathlib import Path

import pytest

import label_config

ROOM = Path(label_config.__file__).parent
ALLOWED = {"numpy", "pydantic", "yaml", "defusedxml", "label_config"}


@pytest.mark.parametrize("path", sorted(ROOM.glob("*.py")), ids=lambda path: path.stem)
def test_the_vocabulary_stands_on_four_packages_alone(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - ALLOWED - set(sys.stdlib_module_names) == set()
