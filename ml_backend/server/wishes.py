"""What events ask for is written to the store by a thread of its own: Label Studio waits a second for a webhook, a store may take
half a minute to say that it is locked, and full or away it takes nothing at all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from ml_backend.store import projects
from ml_backend.store.workspace import Workspace

log = logging.getLogger("parallax.server")

#: A caller waits so long for the store; then it is answered, and the wish is kept.
ANSWER_S = 0.4
#: A store that refused is asked again after this long.
RETRY_S = 2.0


class Wishes:
    """Flags of the project that somebody wants set.  A wish is lost only with the process; the next tick pulls all the same."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._changed = threading.Condition()
        self._wanted: set[str] = set()
        self._asked = self._granted = 0
        self._at_work_since: float | None = None

    def ask(self, flags: Iterable[str]) -> bool:
        """Want these flags set; True when the store has them already, False when they will be written later."""
        with self._changed:
            self._wanted |= set(flags)
            self._asked += 1
            mine = self._asked
            if self._at_work_since is None:
                self._at_work_since = time.monotonic()
                threading.Thread(target=self._grant, name="wishes", daemon=True).start()
            # While the store does not answer, nobody else waits for it: threads are for those who can be answered.
            left = self._at_work_since + ANSWER_S - time.monotonic()
            return self._changed.wait_for(lambda: self._granted >= mine, max(left, 0.0))

    def _grant(self) -> None:
        while True:
            with self._changed:
                if not self._wanted:
                    self._at_work_since = None
                    return
                flags, self._wanted, newest = self._wanted, set(), self._asked
            try:
                self._write(flags)
            except Exception as error:  # locked, full or away: whatever it is, the wish stands
                log.warning("what an event asked for is not written yet: %s", type(error).__name__)
                with self._changed:
                    self._wanted |= flags
                time.sleep(RETRY_S)
                continue
            with self._changed:
                self._granted, self._at_work_since = newest, time.monotonic()
                self._changed.notify_all()

    def _write(self, flags: set[str]) -> None:
        """A flag that stands already is not written again, however often it rings."""
        state = self.workspace.project
        new = {flag: True for flag in flags if not getattr(state, flag)}
        if new:
            projects.change(self.workspace.store, **new)
