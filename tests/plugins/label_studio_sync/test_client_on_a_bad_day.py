"""What Label Studio may answer instead of an answer, and that the token stays where it belongs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from plugins.label_studio_sync.client import Client, LabelStudioError, seconds_of

TOKEN = "0123456789abcdef0123456789abcdef01234567"


class Server(ThreadingHTTPServer):
    """Answers every call with the next of ``answers``; remembers what was asked, with its authorization."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, str | None]] = []
        self.headers: dict[str, str] = {}
        self.takes_s = 0.0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        time.sleep(self.server.takes_s)
        status, body = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    opened = Client(f"http://127.0.0.1:{server.server_address[1]}", TOKEN)
    server.asked.clear()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("status", "body", "ambiguous", "words"),
    [
        (500, b"oops", True, "answered 500 to GET /api/version: oops"),
        (502, b"", True, "answered 502"),
        (429, b'{"detail": "slow down"}', False, "answered 429.*slow down"),
        (403, b"{}", False, "answered 403"),
        (401, b"{}", False, "refused the token.*Account & Settings"),
        (200, b"<html>", False, "not JSON.*label_studio.url"),
        (200, b"[]", False, "no Label Studio"),
    ],
)
def test_a_refusal_is_explained_and_asked_once(
    server: Server, client: Client, status: int, body: bytes, ambiguous: bool, words: str
) -> None:
    server.answers = [(status, body), (200, b'{"release": "1.23.2"}')]
    with pytest.raises(LabelStudioError, match=words) as caught:
        client.version()
    assert (caught.value.status, caught.value.ambiguous) == (status, ambiguous)
    assert len(server.asked) == 1, "repeating is up to the tick, which backs off"
    assert client.version() == "1.23.2"


def test_the_token_is_sent_and_never_logged(server: Server, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [(200, b'{"release": "1.23.2"}'), (401, b"{}"), (500, TOKEN[:5].encode())]
    client.version()
    texts = [repr(client), str(vars(client))]
    for _ in range(2):
        with pytest.raises(LabelStudioError) as caught:
            client.whoami()
        texts += [str(caught.value), repr(caught.value)]
    assert {authorization for _, authorization in server.asked} == {f"Token {TOKEN}"}
    assert not any(TOKEN in text for text in [caplog.text, *texts])
    assert "api/version" in caplog.text, "something was logged at all"


def test_a_server_that_is_not_there(server: Server) -> None:
    client = Client(f"http://127.0.0.1:{server.server_address[1]}", TOKEN)
    client.url = "http://127.0.0.1:1"
    with pytest.raises(LabelStudioError, match="is it running") as caught:
        client.version()
    assert caught.value.ambiguous
    client.close()


def test_a_client_that_rests_leaves_as_much_time_as_it_takes(server: Server, client: Client) -> None:
    client.rests, server.takes_s, server.answers = True, 0.2, [(200, b"[]")] * 3
    started = time.monotonic()
    for _ in range(3):
        client.call("GET", "api/webhooks/")
    assert time.monotonic() - started >= 3 * 0.2 + 2 * 0.2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_a_call_is_never_followed_and_names_the_address_to_write(
    server: Server, client: Client, status: int
) -> None:
    server.headers = {"Location": "https://label.studio.lab/ls/api/projects/"}
    server.answers = [(status, b""), (200, b"[]")]
    with pytest.raises(LabelStudioError, match=r"write `url: https://label\.studio\.lab/ls` under label_studio") as caught:
        client.create_project("mice", "<View/>")
    assert (caught.value.status, caught.value.ambiguous) == (status, False)
    assert [path for path, _ in server.asked] == ["/api/projects/"]


def test_a_web_page_in_place_of_an_answer_is_named_and_not_printed(server: Server, client: Client) -> None:
    server.answers = [(404, b"\n<!DOCTYPE html><html><body>" + b"nothing here " * 100)]
    with pytest.raises(LabelStudioError, match=r"answered 404 to GET /api/version with a web page.*with the path") as caught:
        client.version()
    assert len(str(caught.value)) < 400
    assert "nothing here" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, 0.0),
        ("7", 7.0),
        (" 30 ", 30.0),
        ("-5", 0.0),
        ("soon", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("9" * 400, 0.0),
    ],
)
def test_how_long_label_studio_wants_to_be_left_alone(server: Server, client: Client, said: str | None, expected: float) -> None:
    server.headers = {} if said is None else {"Retry-After": said}
    server.answers = [(429, b"{}")]
    with pytest.raises(LabelStudioError) as caught:
        client.version()
    assert caught.value.retry_after_s == expected


def test_a_date_after_which_to_try_again_is_understood() -> None:
    assert 25 < seconds_of(formatdate(time.time() + 30, usegmt=True)) < 31
