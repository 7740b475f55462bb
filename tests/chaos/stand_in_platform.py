"""A stand-in for Label Studio at the edge of HTTP, for hundreds of fault runs: it does what a live 1.23.2 was seen to do.

What it holds is kept in memory (``stand_in_state``) and served over a real socket, one port for each instance.  It answers what
our client calls (``stand_in_calls``), and nothing else.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.chaos.stand_in_calls import Call
from tests.chaos.stand_in_state import PlatformState, RefusedCall

#: (method, path) → None: answer; ``"500"``, ``"401"``, ``"429"``: refuse before anything happened; ``"lost"``: cut the connection
#: before, ``"silent"`` after the work was done.
Fault = Callable[[str, str], str | None]


@dataclass
class StandIn(PlatformState):
    """One server."""

    fault: Fault = lambda method, path: None
    calls: Counter[str] = field(default_factory=Counter)
    called_by_sync: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen; what was stored before is there."""
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self) -> None:
        """Cut every connection and listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.cut()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, platform: StandIn) -> None:
        self.platform = platform
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", platform.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """Close every connection."""
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        platform, parts = self.server.platform, urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        path = parts.path.strip("/")
        faulty = platform.token in (self.headers.get("Authorization") or "")
        how = platform.fault(self.command, path) if faulty else None
        platform.calls[f"{self.command} {re.sub('[0-9]+', 'N', path)}"] += 1
        if faulty:
            platform.called_by_sync.append(time.monotonic())
        if how == "lost":
            return self._cut()
        if how is not None and how != "silent":
            return self._answer(int(how), {"detail": "refused by the test"}, {"Retry-After": "2"} if how == "429" else {})
        after: list[Callable[[], None]] = []
        try:
            status, answer = Call(platform, self.command, path, dict(parse_qsl(parts.query)), raw, self.headers, after).answer()
        except RefusedCall as refused:
            status, answer = refused.status, {"detail": str(refused)}
        for act in after:
            act()
        if how == "silent":
            return self._cut()
        # Whoever signs up or logs in here is the same annotator.
        self._answer(status, answer, {"Set-Cookie": "sessionid=2; Path=/"} if path.startswith("user/") else {})

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, answer: Any, headers: dict[str, str]) -> None:
        body = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve
