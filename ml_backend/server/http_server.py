"""The HTTP server in front of the backend: waitress, with limits on what a caller may hold.

One loop reads whole requests; a thread is taken only for a request that has arrived.  Who does not bring the secret is answered
after the head, before a body is read.  Connections that do not get on with their request are closed, by total deadlines which
no drip of bytes extends, and earlier when others want in.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from waitress import utilities
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer

from ml_backend.server.access import MAX_PREDICT_BYTES, RefusedError, body_limit, refusal

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

#: One process, because the store's connections are shared by its threads; some may wait for a worker, others stay free.
THREADS = 12
MAX_HEAD_BYTES = 64 * 2**10


@dataclass(frozen=True)
class CallerLimits:
    """Seconds for a request's head, its body, taking an answer and without a request; connections in all and of one address."""

    head_s: float = 10.0
    body_s: float = 60.0
    answer_s: float = 60.0
    idle_s: float = 30.0
    connections: int = 256
    of_one_address: int = 64


class ServerSettings(Adjustments):
    """Waitress's settings, with what callers must bring (None: nothing) and how long they may take."""

    secret: str | None = None
    limits = CallerLimits()


def make_server(
    application: WSGIApplication, host: str, port: int, secret: str | None, limits: CallerLimits = CallerLimits()
) -> BackendServer:
    """A server that listens already; ``run()`` answers until SystemExit or KeyboardInterrupt is raised in its thread.

    secret  what callers must bring; None lets everybody pass
    port    0 = a free one; ``effective_port`` says which
    Raises OSError when the address cannot be had.
    """
    adjustments = ServerSettings(
        listen=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        threads=THREADS,
        # Ours closes connections before these numbers are reached; then waitress would stop to listen.
        connection_limit=2 * limits.connections,
        asyncore_use_poll=True,
        cleanup_interval=1,
        max_request_header_size=MAX_HEAD_BYTES,
        max_request_body_size=MAX_PREDICT_BYTES + 1,
        log_socket_errors=False,
        ident=None,
    )
    adjustments.secret, adjustments.limits = secret, limits
    return BackendServer(application, adj=adjustments)


class HeadAnswer(utilities.Error):
    """The answer to a request that was not read to its end."""

    def __init__(self, error: RefusedError) -> None:
        super().__init__(error.text)
        self.error = error

    def to_response(  # type: ignore[override]  # the stubs have text where waitress wants bytes
        self, _ident: str | None = None
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        """Status line, headers and body, as the application would have answered."""
        status = HTTPStatus(self.error.status)
        headers = [("Content-Type", "application/json"), *self.error.headers]
        return f"{status.value} {status.phrase}", headers, json.dumps({"error": self.error.text}).encode()


class Request(HTTPRequestParser):
    """Reads a request; one that will not be taken is answered after its head and ends the connection."""

    adj: ServerSettings
    path: str
    headers: dict[str, str]

    def received(self, data: bytes) -> int:
        """Take over bytes; returns how many belong to this request."""
        consumed: int = super().received(data)
        if self.headers_finished and not self.empty and self.error is None and not self.body_bytes_received:
            refused = self._refusal()
            if refused is not None:
                self.error, self.completed = HeadAnswer(refused), True
        return consumed

    def _refusal(self) -> RefusedError | None:
        if self.chunked:
            return RefusedError(411, "the request must state its length")
        limit = body_limit(self.path)
        if self.content_length > limit:
            return RefusedError(413, f"the body has {self.content_length} bytes, at most {limit} are taken")
        return refusal(self.adj.secret, self.path, lambda name: self.headers.get(name.upper().replace("-", "_")))


class Connection(HTTPChannel):
    """One caller's connection, with the time since when it is in its present stage."""

    parser_class = Request

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._stage: tuple[object, ...] = ("idle",)
        self._since = time.monotonic()
        self._refused = self._draining = False
        super().__init__(*arguments, **options)

    @property
    def is_waiting(self) -> bool:
        """Nothing of this caller is being worked on."""
        return not self.requests and not self.total_outbufs_len and not self.will_close

    def overdue(self, limits: CallerLimits) -> bool:
        """Whether its present stage has lasted too long.  Bytes that drip leave it in the same stage."""
        now = time.monotonic()
        stage, allowed = self._stage_now(limits)
        if stage != self._stage:
            self._stage, self._since = stage, now
        return now - self._since > allowed

    def _stage_now(self, limits: CallerLimits) -> tuple[tuple[object, ...], float]:
        """The stage, and the seconds that it may last."""
        if self._draining:
            return ("draining",), limits.head_s
        if self.total_outbufs_len:
            return ("answered",), limits.answer_s
        if self.requests:
            return ("worked on",), float("inf")
        if self.request is None:
            return ("idle", self.last_activity), limits.idle_s
        if not self.request.headers_finished:
            return ("head", id(self.request)), limits.head_s
        return ("body", id(self.request)), limits.body_s

    def received(self, data: bytes) -> bool:
        """Take over bytes that came; nothing more of a request that is refused."""
        if self._refused:
            return False
        taken: bool = super().received(data)
        self._refused = any(request.error is not None for request in self.requests)
        return taken

    # A caller that still sends its body would lose the answer if the connection were closed at once: what comes is read and
    # thrown away until the caller is done, or the time is over.

    def readable(self) -> bool:
        """Whether bytes are wanted."""
        return not self.will_close if self._draining else bool(super().readable())

    def writable(self) -> bool:
        """Whether there is something to send, or to close."""
        return self.will_close if self._draining else bool(super().writable())

    def handle_read(self) -> None:
        """Bytes are there."""
        if not self._draining:
            super().handle_read()
            return
        try:
            self.recv(self.adj.recv_bytes)  # closes the connection at its end
        except OSError:
            self.handle_close()

    def handle_write(self) -> None:
        """There is room for bytes."""
        if not (self._refused and self.close_when_flushed):
            super().handle_write()
            return
        self.close_when_flushed = False
        super().handle_write()
        if self.connected and self.total_outbufs_len:
            self.close_when_flushed = True
        elif self.connected:
            self._draining = True
            with contextlib.suppress(OSError, AttributeError):  # the caller may be gone already
                self.socket.shutdown(socket.SHUT_WR)  # type: ignore[union-attr]


class BackendServer(TcpWSGIServer):
    """Waitress's server with our limits."""

    adj: ServerSettings
    channel_class = Connection
    active_channels: dict[int, Connection]  # type: ignore[assignment]  # the stubs have one channel

    def handle_accept(self) -> None:
        """A newcomer displaces whoever has waited longest without bringing a request."""
        before = set(self.active_channels)
        super().handle_accept()
        for number in self.active_channels.keys() - before:
            self._make_room(self.active_channels[number])

    def _make_room(self, newcomer: Connection) -> None:
        waiting = [other for other in self.active_channels.values() if other.is_waiting and other is not newcomer]
        same = [other for other in waiting if other.addr[0] == newcomer.addr[0]]
        of_address = sum(other.addr[0] == newcomer.addr[0] for other in self.active_channels.values())
        if of_address > self.adj.limits.of_one_address and same:
            same[0].will_close = True  # channels stand in the order in which they came
        elif len(self.active_channels) > self.adj.limits.connections and waiting:
            waiting[0].will_close = True

    def maintenance(self, now: float) -> None:
        """Close what is overdue; called once a second."""
        for channel in list(self.active_channels.values()):
            if channel.overdue(self.adj.limits):
                channel.will_close = True

    def run(self) -> None:
        """Answer until the process is asked to end."""
        signal.signal(signal.SIGTERM, _end)
        super().run()


def _end(number: int, frame: object) -> None:
    raise SystemExit(0)
