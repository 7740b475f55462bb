"""What could not be used, in words: collected and reported, while everything else goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    severity  "error": something a person said is not used; "warning": it is used, but not quite as written
    view, keypoint  where, if it concerns one
    got       what was found, where many things with one trouble differ in it alone
    """

    severity: Severity
    message: str
    view: str | None = None
    keypoint: str | None = None
    got: str = ""

    @property
    def text(self) -> str:
        """All of it in words."""
        return f"{self.message}, got {self.got}" if self.got else self.message
