"""Callers that want to hold the backend, see its inside or do more than they may; over a real socket where that matters."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from label_config.settings.caller_secret import BASIC_USER, SECRET_HEADER, webhook_key
from ml_backend.server import access
from ml_backend.server.app import create_app
from ml_backend.server.http_server import BackendServer, CallerLimits, make_server
from ml_backend.server.predictions import MAX_TASKS
from ml_backend.store.workspace import Workspace
from tests.small_project import SECRET

RING = {"action": "ANNOTATION_CREATED", "project": {"id": 7}}
QUICK = CallerLimits(head_s=1, body_s=1, answer_s=1, idle_s=1, connections=40, of_one_address=20)
PATIENT = CallerLimits()

Serve = Callable[[CallerLimits], BackendServer]


@pytest.fixture
def serve(workspace: Workspace) -> Iterator[Serve]:
    """Starts the backend in a thread of this process; returns the server."""
    with ExitStack() as stack:

        def start(limits: CallerLimits) -> BackendServer:
            server = make_server(create_app(workspace, SECRET), "127.0.0.1", 0, SECRET, limits)
            channels = server._map  # type: ignore[attr-defined]  # left out of waitress's stubs, as the port below
            thread = threading.Thread(target=server.asyncore.loop, kwargs={"timeout": 0.05, "use_poll": True, "map": channels})
            thread.start()
            stack.callback(thread.join)
            stack.callback(lambda: (server.task_dispatcher.shutdown(), server.asyncore.close_all(channels)))
            return server

        yield start


def call(server: BackendServer) -> socket.socket:
    """A connection to it."""
    port = int(server.effective_port)  # type: ignore[attr-defined]
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def said(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def head(path: str, method: str = "POST", **headers: str) -> bytes:
    """The head of a request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: here",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def drip_until_closed(connection: socket.socket) -> None:
    """A byte now and then, for twenty seconds at most."""
    for _ in range(400):
        connection.sendall(b"x")
        time.sleep(0.05)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("value", ["Basic é", "Basic \xff\xfe", "Basic cGFyYWxsYXg6w6k=", "Basic " + "A" * 9999, "é"])
def test_credentials_that_are_not_ascii_are_refused(workspace: Workspace, value: str) -> None:
    client = create_app(workspace, SECRET).test_client()
    assert client.post("/webhook", json=RING, headers={"Authorization": value}).status_code == 401


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_secret_with_umlauts_is_understood_in_both_encodings(workspace: Workspace, encoding: str) -> None:
    client = create_app(workspace, "schlüssel").test_client()
    coded = base64.b64encode(f"{BASIC_USER}:schlüssel".encode(encoding)).decode()
    assert client.post("/webhook", json=RING, headers={"Authorization": f"Basic {coded}"}).status_code == 202


def test_nothing_is_served_from_folders(client: FlaskClient) -> None:
    assert client.get("/static/x").status_code == 404
    assert [rule.rule for rule in client.application.url_map.iter_rules() if "static" in rule.rule] == []


def test_the_key_of_a_webhook_rings_and_does_nothing_else(workspace: Workspace) -> None:
    client = create_app(workspace, SECRET).test_client()
    brought = {SECRET_HEADER: webhook_key(SECRET)}
    for path in ("/predict", "/setup"):
        assert client.post(path, json={}, headers=brought).status_code == 401
    for path in ("/versions", "/metrics"):
        assert client.get(path, headers=brought).status_code == 401
    assert client.post("/webhook", json={**RING, "action": "START_TRAINING"}, headers=brought).status_code == 202
    assert (workspace.project.pull_requested, workspace.project.train_requested) == (False, False)
    assert client.post("/webhook", json=RING, headers=brought).status_code == 202
    assert workspace.project.pull_requested


def test_a_body_of_millions_of_values_is_refused(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MAX_VALUES", 1000)
    assert client.post("/webhook", json={**RING, "x": [0] * 900}).status_code == 202
    assert client.post("/webhook", json={**RING, "x": [0] * 1100}).status_code == 413
    assert client.post("/webhook", json={**RING, "x": [[0] * 30] * 40}).status_code == 413


def test_many_tasks_are_looked_up_at_once_and_too_many_refused(workspace: Workspace, client: FlaskClient) -> None:
    asked: list[str] = []
    event.listen(workspace.store.engine, "before_cursor_execute", lambda c, cursor, statement, *rest: asked.append(statement))
    answer = client.post("/predict", json={"tasks": [{"id": 100 + n % 5} for n in range(MAX_TASKS)]})
    assert (answer.status_code, len(answer.get_json()["results"])) == (200, MAX_TASKS)
    assert len(asked) < 30
    refused = client.post("/predict", json={"tasks": [{"id": 100}] * (MAX_TASKS + 1)})
    assert (refused.status_code, "select fewer" in refused.get_json()["error"]) == (413, True)


def test_headers_cannot_move_the_application(serve: Serve) -> None:
    with call(serve(PATIENT)) as caller:
        caller.sendall(head("/health", "GET", SCRIPT_NAME="/x", Script_Name="/y", Connection="close"))
        assert status(said(caller)) == 200


def test_who_lacks_the_secret_is_answered_before_a_body_is_read(serve: Serve) -> None:
    with call(serve(PATIENT)) as caller:
        caller.sendall(head("/predict", Content_Length=str(60 * 2**20)) + b"x" * 2**20)
        answer = said(caller)
    assert status(answer) == 401
    assert b"www-authenticate: basic" in answer.lower()
    assert b"Connection: close" in answer
    assert SECRET_HEADER in json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content_Length": str(3 * 2**20)}, 413),
        ({"Content_Length": "1" + "0" * 30}, 413),
        ({"Content_Length": "-1"}, 400),
        ({"Transfer_Encoding": "chunked"}, 411),
        ({"Transfer_Encoding": "gzip, chunked"}, 501),
        ({"Content_Length": "4", "X": "y" * 2**17}, 431),
    ],
)
def test_what_will_not_be_taken_is_refused_by_its_head(serve: Serve, headers: dict[str, str], expected: int) -> None:
    with call(serve(PATIENT)) as caller:
        caller.sendall(head("/webhook", **{SECRET_HEADER: SECRET}, **headers))
        assert status(said(caller)) == expected


def test_a_caller_that_still_sends_gets_its_answer(serve: Serve) -> None:
    server = serve(PATIENT)
    for _ in range(20):
        with call(server) as caller:
            caller.sendall(head("/webhook", Content_Length=str(10 * 2**20)))
            for _ in range(40):
                caller.sendall(b"x" * 2**16)
            assert status(said(caller)) == 413


@pytest.mark.chaos
def test_bytes_that_drip_do_not_extend_a_deadline(serve: Serve) -> None:
    server = serve(QUICK)
    begun = {
        "head": b"POST /webhook HTTP/1.1\r\nHost: here\r\nX-Long: ",
        "body": head("/webhook", **{SECRET_HEADER: SECRET}, Content_Length="100000"),
    }
    for name, start in begun.items():
        with call(server) as caller:
            caller.sendall(start)
            started = time.monotonic()
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                drip_until_closed(caller)
            assert time.monotonic() - started < 10, name


@pytest.mark.chaos
def test_who_brings_no_request_is_displaced_by_who_does(serve: Serve) -> None:
    server = serve(QUICK)
    with ExitStack() as stack:
        for _ in range(3 * QUICK.connections):
            stack.enter_context(call(server))
        with call(server) as caller:
            caller.sendall(head("/health", "GET", Connection="close"))
            assert status(said(caller)) == 200
        deadline = time.monotonic() + 20
        while len(server.active_channels) > QUICK.of_one_address and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(server.active_channels) <= QUICK.of_one_address


@pytest.mark.chaos
def test_two_hundred_idle_and_fifty_dripping_callers_keep_nobody_from_an_answer(serve: Serve) -> None:
    server, over = serve(PATIENT), threading.Event()

    def drip() -> None:
        while not over.wait(0.01):
            try:
                with call(server) as caller:
                    caller.sendall(b"POST /predict HTTP/1.1\r\nX: ")
                    while not over.wait(0.1):
                        caller.sendall(b"x")
            except OSError:
                pass  # closed by the server: again

    threads = [threading.Thread(target=drip) for _ in range(50)]
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(call(server))
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        stack.callback(over.set)
        took = []
        for _ in range(200):
            started = time.perf_counter()
            with call(server) as caller:
                caller.sendall(head("/health", "GET", Connection="close"))
                assert status(said(caller)) == 200
            took.append(time.perf_counter() - started)
    slowest = sorted(took)[198]
    # Without the front twelve such callers held every thread: no answer came at all.
    assert slowest < 2, f"{slowest:.3f} s"
