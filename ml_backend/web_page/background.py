"""What takes longer than a page may: computed in a thread of its own, shown when it is there, and anew when it is outdated."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
log = logging.getLogger("parallax.server")


@dataclass(frozen=True)
class Computed(Generic[T]):
    """``value`` None: nothing is there yet; ``at``: when it was computed; ``problem``: why it could not be, in words."""

    value: T | None
    at: float
    running: bool
    problem: str = ""


class Background(Generic[T]):
    """One such value."""

    def __init__(self, compute: Callable[[], T]) -> None:
        self._compute = compute
        self._lock = threading.Lock()
        self._value: T | None = None
        self._token: object = None
        self._at = 0.0
        self._running = False
        self._problem = ""

    def get(self, token: object, *, wait_s: float = 0.0) -> Computed[T]:
        """The last value; when ``token`` is not the one that it was computed for, another computation begins.

        wait_s  seconds to wait for it
        """
        with self._lock:
            if not self._running and token != self._token:
                self._running = True
                thread = threading.Thread(target=self._run, args=(token,), name="page", daemon=True)
                thread.start()
        deadline = time.monotonic() + wait_s
        while self._running and time.monotonic() < deadline:
            time.sleep(0.01)
        with self._lock:
            return Computed(self._value, self._at, self._running, self._problem)

    def _run(self, token: object) -> None:
        value, problem = None, ""
        try:
            value = self._compute()
        except Exception as error:  # the page says so; the rest of it is shown all the same
            log.exception("a page could not be computed")
            problem = f"it could not be computed: {type(error).__name__}; see the backend's log"
        with self._lock:
            self._value, self._problem, self._token = value, problem, token
            self._at, self._running = time.time(), False
