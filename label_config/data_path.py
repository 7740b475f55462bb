"""Task data keys as labelling configs write them: ``image``, ``files.image``, ``images[0]``, ``images[0].url``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_STEP = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_-]*)|\[([0-9]{1,6})\]")
#: What may stand behind the ``$`` of a tag's value.
PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_-]*|\[[0-9]{1,6}\])*")


def value_at(data: Mapping[str, Any], path: str) -> Any:
    """The value at a path, None where there is none.  A key that is spelt like the whole path comes first, as in Label Studio."""
    if path in data:
        return data[path]
    if not PATH.fullmatch(path):
        return None
    value: Any = data
    for name, position in _STEP.findall(path):
        if name and isinstance(value, Mapping):
            value = value.get(name)
        elif position and isinstance(value, list) and int(position) < len(value):
            value = value[int(position)]
        else:
            return None
    return value


def is_plain(path: str) -> bool:
    """The path is one key."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", path) is not None
