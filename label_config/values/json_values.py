"""Values of JSON that anybody may have written: what is of another type than expected is nothing, and nothing raises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def lookup(table: Mapping[Any, Any], key: object) -> Any:
    """What a table has for a text, None for anything else."""
    return table.get(key) if isinstance(key, str) else None


def mapping(value: object) -> Mapping[str, Any]:
    """The mapping; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def texts_of(value: object) -> list[str]:
    """The texts in a list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def number(value: object) -> float | None:
    """A finite number; None for anything else, text and truth values included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        finite = float(value)
    except OverflowError:
        return None
    return finite if math.isfinite(finite) else None


def text_of(value: object) -> str:
    """A short form of anything for a message."""
    try:
        items = value if isinstance(value, list | tuple) else None
        text = ", ".join(map(repr, items)) or "none" if items is not None else repr(value)
    except (ValueError, RecursionError):  # integers of thousands of digits, nesting without end
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."
