"""Pictures that could not be used: which are damaged, which were only not to be had, and when they are tried again.

A mark belongs to one view of one frame, and to the picture as it was: another address or another file has no mark.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from label_config.values import ImageRef

#: Seconds until the next try after the first failure; each further one doubles them.
FIRST_WAIT_S = {"unavailable": 30.0, "damaged": 600.0}
LONGEST_WAIT_S = {"unavailable": 3600.0, "damaged": 86_400.0}


@dataclass(frozen=True)
class PictureMark:
    """Why the picture of one view could not be used.

    damaged   it was there, whole, and cannot be decoded; otherwise it could not be had, which says nothing about it
    picture   the reference, and size and time of the file on disk, that this was found out about
    tries     how often in a row
    again_at  seconds since the epoch before which it is not tried again
    """

    why: str
    damaged: bool
    picture: list[Any]
    tries: int
    again_at: float

    def is_due(self, now: float) -> bool:
        """Whether it is time to try again; a wait that would be longer than any began before the clock was set back."""
        return not now < self.again_at <= now + _wait_s(self.damaged, self.tries)

    def to_json(self) -> dict[str, Any]:
        """JSON value."""
        return asdict(self)


def mark(ref: ImageRef, why: str, *, damaged: bool, before: PictureMark | None = None) -> PictureMark:
    """What a failed try leaves; ``before`` is the mark that it left last time, None when it succeeded or was the first."""
    tries = before.tries + 1 if before is not None and before.damaged == damaged else 1
    return PictureMark(why, damaged, _picture(ref), tries, time.time() + _wait_s(damaged, tries))


def _wait_s(damaged: bool, tries: int) -> float:
    kind = "damaged" if damaged else "unavailable"
    return min(FIRST_WAIT_S[kind] * 2.0 ** min(tries - 1, 30), LONGEST_WAIT_S[kind])


def valid_marks(stored: Mapping[str, Any] | None, images: Mapping[str, ImageRef]) -> dict[str, PictureMark]:
    """View → its mark, of the pictures that are still the ones which were marked."""
    marks = {view: PictureMark(**values) for view, values in (stored or {}).items() if view in images}
    return {view: held for view, held in marks.items() if held.picture == _picture(images[view])}


def _picture(ref: ImageRef) -> list[Any]:
    try:
        status = os.stat(ref.source)
        file: list[int] | None = [status.st_size, status.st_mtime_ns]
    except (OSError, ValueError):  # an address, or a file that is not there
        file = None
    return [ref.source, ref.frame_index, list(ref.crop) if ref.crop else None, ref.rotation, file]
