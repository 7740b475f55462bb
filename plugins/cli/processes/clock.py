"""When ticks happen: every so often, at once when somebody asks, and less and less often while something is away."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError

from label_config.values import ParallaxError
from ml_backend.store import presence
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace

if TYPE_CHECKING:
    from plugins.label_studio_sync.tick import TickReport

#: How often the flags are read; also the least time between two ticks, so that a storm of events is one tick a second.
POLL_S = 1.0
#: Longest pause between two attempts while Label Studio or the database is away.
MAX_BACK_OFF_S = 30.0
#: Label Studio, or a proxy before it, may ask for a longer one; not for longer than this.
MAX_WISHED_S = 120.0
#: A sync process that does not lead looks this often whether the leader is gone.
STANDBY_S = 5.0
JITTER = 0.1
_FLAGS = ("pull_requested", "train_requested", "select_requested")
_AWAY = (ParallaxError, OperationalError)


def back_off_s(failures: int) -> float:
    """Pause after so many failures in a row."""
    return min(MAX_BACK_OFF_S, 2.0 ** (failures - 1)) if failures else 0.0


def describe(report: TickReport) -> str:
    """What a tick did, in one line; empty when it found nothing to do."""
    if not report.led:
        return "another sync process leads"
    parts = []
    if report.pulled and (report.pulled.changed or report.pulled.deleted):
        parts.append(f"pulled {report.pulled.changed} annotations, {report.pulled.deleted} gone")
    if report.decision and report.decision.reasons:
        parts.append("; ".join(report.decision.reasons))
    if report.pushed:
        seconds = f"{report.pushed.seconds:.1f} s"
        parts.append(f"pushed {report.pushed.generation}: {report.pushed.predictions} predictions in {seconds}")
    if report.cleaned:
        parts.append(f"cleaned up {report.cleaned} old predictions")
    return " · ".join(parts)


class TickClock:
    """Runs ticks until ``stop`` is set.

    tick  does one beat; may raise
    say   gets one line per thing that happened
    """

    def __init__(self, workspace: Workspace, tick: Callable[[], TickReport], owner: str, say: Callable[[str], None]) -> None:
        self.workspace, self.tick, self.owner, self.say = workspace, tick, owner, say
        self.stop = threading.Event()
        self._failures = 0
        self._led = True
        self._seen: frozenset[str] = frozenset()

    def run(self) -> None:
        """Tick until stopped, then give the leader's lease back, so that another sync process need not wait for it."""
        while not self.stop.is_set():
            pause = self._beat()
            self._wait(pause)
        try:
            presence.release_lease(self.workspace.store, f"sync {self.workspace.store.project_id}", self.owner)
        except OperationalError as error:
            self.say(f"lease not given back: {error.orig}")

    def _beat(self) -> float:
        """One tick; the pause until the next."""
        try:
            report = self.tick()
            text = describe(report) if report.led or self._led else ""
            self._led = report.led
            if self._failures:
                presence.settle(self.workspace.store, "sync")
                text = f"works again after {self._failures} attempts" + (f" · {text}" if text else "")
            self._failures = 0
            # A tick takes this flag first of all, so one that stands now came later, maybe after its label was listed.
            self._seen = self._flags() - {"pull_requested"}
        except _AWAY as error:
            return self._failed(error)
        if text:
            self.say(text)
        period = self.workspace.spec.sync.tick_seconds
        pause = period if report.led else min(period, STANDBY_S)
        return pause * random.uniform(1 - JITTER, 1 + JITTER)

    def _failed(self, error: Exception) -> float:
        self._failures += 1
        pause = max(back_off_s(self._failures), min(getattr(error, "retry_after_s", 0.0), MAX_WISHED_S))
        self.say(f"tick failed ({error}); next attempt in {pause:.0f} s")
        with contextlib.suppress(OperationalError):  # it may be the database that is away
            presence.tell(self.workspace.store, f"sync: {error}", level=EventLevel.ERROR, key="sync")
        return pause

    def _wait(self, pause: float) -> None:
        """Until the pause is over, or until somebody asks; while something is away asking does not help."""
        end = time.monotonic() + pause
        while (left := end - time.monotonic()) > 0:
            if self.stop.wait(min(left, POLL_S)) or (not self._failures and self._led and self._asked()):
                return

    def _asked(self) -> bool:
        """A flag was set since the last tick.  One that a tick leaves standing (training is busy, say) asks only once."""
        try:
            now = self._flags()
        except OperationalError:
            return True  # the tick will say what is wrong
        new = now - self._seen
        self._seen = now
        return bool(new)

    def _flags(self) -> frozenset[str]:
        project = self.workspace.project
        return frozenset(flag for flag in _FLAGS if getattr(project, flag))
