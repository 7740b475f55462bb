"""Why something that a project holds cannot be used, in parts, so that many things with one trouble make one message."""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    """One trouble.

    expected  where the trouble is and what was expected there; the same for everything with this trouble
    got       what was found instead, empty when that says nothing more
    fix       what to do about it
    """

    expected: str
    got: str = ""
    fix: str = ""

    def __str__(self) -> str:
        got = f", got {self.got}" if self.got else ""
        return f"{self.expected}{got}" + (f"; {self.fix}" if self.fix else "")
