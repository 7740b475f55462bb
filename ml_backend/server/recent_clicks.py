"""Clicks of the last minute or two, per task.

Label Studio sends the regions of the clicked camera only, and saves a draft of the rest some seconds later.  Until then what was
clicked in the other cameras is remembered here, in the one process that answers.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from label_config.labelling.region_frame import PointKey

#: Seconds after which a click is forgotten; by then its draft is saved, or it was not meant.
EXPIRY_S = 90.0
MAX_TASKS = 256
MAX_CLICKS = 4096


@dataclass(frozen=True)
class RememberedClick:
    """xy_px in the picture of the view; ``draft`` names the state of the draft at that time, None = there was none."""

    xy_px: tuple[float, float]
    draft: str | None
    at: float


class RecentClicks:
    """Task → what was clicked there lately.  May be used by several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tasks: OrderedDict[int, dict[PointKey, RememberedClick]] = OrderedDict()

    def note(self, task: int, key: PointKey, xy_px: tuple[float, float], draft: str | None) -> None:
        """Remember a click; the last one of a keypoint in a view counts."""
        with self._lock:
            clicks = self._tasks.setdefault(task, {})
            clicks[key] = RememberedClick(xy_px, draft, self._clock())
            self._tasks.move_to_end(task)
            while len(clicks) > MAX_CLICKS:
                del clicks[next(iter(clicks))]
            while len(self._tasks) > MAX_TASKS:
                self._tasks.popitem(last=False)

    def of(self, task: int) -> dict[PointKey, RememberedClick]:
        """What is still remembered of a task."""
        oldest = self._clock() - EXPIRY_S
        with self._lock:
            kept = {key: click for key, click in self._tasks.get(task, {}).items() if click.at >= oldest}
            if kept:
                self._tasks[task] = kept
            else:
                self._tasks.pop(task, None)
            return dict(kept)
