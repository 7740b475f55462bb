"""Where the time goes: seconds by stage, of one thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageTimes:
    """Seconds by name, and since it was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts what runs inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """More seconds of a stage."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._started

    def __str__(self) -> str:
        total = max(self.total, 1e-9)
        known = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in self.seconds.items())
        return f"{known}, other {max(1 - sum(self.seconds.values()) / total, 0):.0%}"
