"""JSON files of other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from label_config.values.errors import LabelFileError
from label_config.values.refusing import refusing


def load_json(path: Path) -> Any:
    """A JSON file.  Raises BadInputError naming file and line."""
    with refusing(LabelFileError, f"{path}: cannot be read"):
        try:
            return json.loads(path.read_text(encoding="utf-8-sig"))
        except json.JSONDecodeError as error:
            raise LabelFileError(f"{path}:{error.lineno}: no JSON ({error.msg})") from error
