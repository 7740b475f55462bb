"""One sync process leads; its lease is kept alive by a thread, however long a push takes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from label_config.values.errors import InterruptedWorkError
from ml_backend.store import presence
from ml_backend.store.database import ProjectStore

log = logging.getLogger("parallax.sync")

#: A killed leader is replaced after this long.
LEASE_S = 45.0
REFRESH_S = 10.0


class LostLeadershipError(InterruptedWorkError):
    """Another sync process took over (this one was paused, say) and must not be disturbed."""


@contextmanager
def leading(store: ProjectStore, owner: str) -> Iterator[Callable[[], None] | None]:
    """Hold the leader's lease.  Yields a check that raises LostLeadershipError once it is lost; None: another one leads."""
    name = f"sync {store.project_id}"
    if not presence.acquire_lease(store, name, owner, LEASE_S):
        yield None
        return
    over, lost = threading.Event(), threading.Event()

    def refresh() -> None:
        while not over.wait(REFRESH_S):
            try:
                if not presence.acquire_lease(store, name, owner, LEASE_S):
                    lost.set()
                    return
                presence.beat(store, "sync", {"owner": owner})
            except Exception as error:  # the database may be away for a moment; the lease outlives that
                log.warning("leader's lease not refreshed: %s", error)

    def check() -> None:
        # Asked anew: after a pause the thread may not have looked yet.
        if lost.is_set() or not presence.acquire_lease(store, name, owner, LEASE_S):
            raise LostLeadershipError("another sync process took over; this one stops its tick")

    thread = threading.Thread(target=refresh, name=f"lease {name}", daemon=True)
    thread.start()
    try:
        yield check
    finally:
        over.set()
        thread.join()
