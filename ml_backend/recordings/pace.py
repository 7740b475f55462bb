"""A server that fails again and again is left in peace for a while: thousands of pictures must not wait for it one by one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ml_backend.recordings.addresses import Origin
from ml_backend.recordings.picture_errors import FetchError

#: Failures in a row after which a server is not asked for a while.
PATIENCE = 3
FIRST_REST_S, LONGEST_REST_S = 5.0, 60.0


class Pace:
    """Failures in a row by server.  Safe to share between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[Origin, tuple[int, float, str]] = {}
        self._lock = threading.Lock()

    def check(self, origin: Origin, where: str) -> None:
        """Raise FetchError while the server rests."""
        with self._lock:
            count, until, why = self._failures.get(origin, (0, 0.0, ""))
        left = until - self._clock()
        if count >= PATIENCE and left > 0:
            text = f"not asked for, because {origin[1]} failed {count} times in a row ({why}); again in {left:.0f} s"
            raise FetchError(where, text)

    def failed(self, origin: Origin, why: str) -> None:
        """The server did not answer, or not as one that works."""
        with self._lock:
            count = self._failures.get(origin, (0, 0.0, ""))[0] + 1
            rest_s = min(FIRST_REST_S * 2.0 ** max(count - PATIENCE, 0), LONGEST_REST_S) if count >= PATIENCE else 0.0
            self._failures[origin] = (count, self._clock() + rest_s, why)

    def worked(self, origin: Origin) -> None:
        """The server answers."""
        with self._lock:
            self._failures.pop(origin, None)
