"""Files of others can be wrong in every way: what is not foreseen is still said with the name of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from label_config.values.errors import LabelFileError


@contextmanager
def understood(path: Path, what: str) -> Iterator[None]:
    """Say with the file's name that it is not ``what``, where a value of another kind was met on the way."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise LabelFileError(
            f"{path}: expected {what}; one of its values is of another kind ({type(error).__name__}: {error})"
        ) from error


def load_json(path: Path) -> Any:
    """A JSON file.  Raises BadInputError naming file and line."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise LabelFileError(f"{path}:{error.lineno}: no JSON ({error.msg})") from error
    except (OSError, ValueError, RecursionError) as error:
        raise LabelFileError(f"{path}: cannot be read ({error})") from error
