"""What a page shows in rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Link:
    """A cell that leads somewhere."""

    text: str
    address: str


@dataclass(frozen=True)
class Table:
    """Cells are texts, numbers or links; ``numbers`` are the columns that are set flush right; ``empty`` is said without rows."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    empty: str
    numbers: frozenset[int] = field(default=frozenset())


def number(value: Any, form: str = ".3g") -> str:
    """A figure, or a dash where there is none."""
    return format(value, form) if isinstance(value, int | float) and math.isfinite(value) else "–"
