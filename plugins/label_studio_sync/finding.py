"""One thing that was checked: what was seen, and the fix when there is something to fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """``hop`` is what was checked, in a word."""

    hop: str
    state: State
    seen: str
    fix: str = ""

    @property
    def line(self) -> str:
        """In one line."""
        return f"{self.state}: {self.hop}: {self.seen}" + (f"; {self.fix}" if self.fix else "")
