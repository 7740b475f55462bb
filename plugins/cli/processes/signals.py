"""Being asked to stop, and who we are."""

from __future__ import annotations

import os
import signal
import socket
import threading


def stop_on_signals(stop: threading.Event) -> None:
    """SIGTERM and SIGINT set the event; what is in progress is finished first."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


def own_name() -> str:
    """This process, as leases name it."""
    return f"{socket.gethostname()}:{os.getpid()}"
