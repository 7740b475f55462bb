"""Ids of the regions that Parallax puts into a prediction.

``px:<generation>:<view>:<subject>:<keypoint>``, all short numbers; a subject's box ends in ``b``.  They survive editing
and submitting, so an annotation always says which points were shown, and in which generation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_NUMBER = r"(0|[1-9][0-9]{0,9})"
#: What we ever write is smaller: generations fit into a database's integer, the others are positions in short lists.
_MOST_GENERATIONS, _MOST_OTHERS = 2**31, 10_000
#: Four numbers of ten digits at most; a longer text is no id of ours.
_LONGEST = 48
_PATTERN = re.compile(rf"px:{_NUMBER}:{_NUMBER}:{_NUMBER}:(?:{_NUMBER}|b)")


@dataclass(frozen=True, order=True)
class RegionId:
    """``view`` and ``keypoint`` are positions in the binding and the skeleton; ``keypoint`` None means the subject's box."""

    generation: int
    view: int
    subject: int
    keypoint: int | None

    def __str__(self) -> str:
        last = "b" if self.keypoint is None else self.keypoint
        return f"px:{self.generation}:{self.view}:{self.subject}:{last}"

    @classmethod
    def parse(cls, text: object) -> RegionId | None:
        """Inverse of ``str``; None for anything else, such as an id that Label Studio made."""
        return _parsed(text) if isinstance(text, str) and len(text) <= _LONGEST else None


@lru_cache(maxsize=16_384)
def _parsed(text: str) -> RegionId | None:
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    generation, view, subject, keypoint = match.groups()
    found = RegionId(int(generation), int(view), int(subject), None if keypoint is None else int(keypoint))
    small = max(found.view, found.subject, found.keypoint or 0) < _MOST_OTHERS
    return found if small and found.generation < _MOST_GENERATIONS else None
