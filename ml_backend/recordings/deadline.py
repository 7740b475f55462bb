"""The end of a request's time, kept from outside of the parser of HTTP.

A server that sends its status line, its headers, its trailers or one interim answer after another byte by byte keeps every
timeout between two bytes; so the connection is cut when the time is over, whatever is being read.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self


class Deadline:
    """``with Deadline(at) as deadline``: connections that are made with :meth:`trace` are cut at ``at`` (monotonic seconds)."""

    def __init__(self, at: float) -> None:
        self.passed = False
        self._socket: Any = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(max(at - time.monotonic(), 0.0), self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """For the extension ``trace`` of a request of httpx: which connection it is."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
                if self.passed:
                    self._cut()

    def _end(self) -> None:
        with self._lock:
            self.passed = True
            self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Also under TLS that of the plain socket: it only wakes whoever reads, and leaves TLS's state to them.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
