"""The guarded fetcher against a real web server on this machine."""

import contextlib
import json
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ml_backend.recordings.cache import PictureCache
from ml_backend.recordings.credentials import Credentials, is_personal_access_token
from ml_backend.recordings.fetch import Fetcher, Timeouts
from ml_backend.recordings.hosts import AllowedHosts
from ml_backend.recordings.picture_errors import FetchError, ForbiddenAddressError, UnreadableImageError
from ml_backend.recordings.pictures import Limits

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PAT = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2VjcmV0LXNpZ25hdHVyZQ"
SECRETS = (LEGACY, PAT, "access-one", "access-two")
IMAGE = {"content-type": "image/jpeg"}


def _fetcher(server: Any, token: Any = None, hosts: Any = (), **more: Any) -> Any:
    return Fetcher(AllowedHosts(server.url, hosts), Credentials(token) if token else None, **more)


def test_legacy_token_goes_to_label_studio(server: Any) -> None:
    server.answers["/data/local-files/?d=frames/f.jpg"] = (200, IMAGE, b"pixels")
    assert _fetcher(server, LEGACY).fetch(server.url + "/data/local-files/?d=frames/f.jpg") == b"pixels"
    assert server.authorizations() == [f"Token {LEGACY}"]
    assert server.seen[0][2]["host"] == server.url.removeprefix("http://")
    assert server.seen[0][2]["accept"] == "*/*"  # Label Studio answers 406 to image/*


def test_personal_access_token_is_traded_once(server: Any) -> None:
    server.answers["/data/a.jpg"] = (200, IMAGE, b"a")
    server.answers["/api/token/refresh/"] = (200, {}, json.dumps({"access": "access-one"}).encode())
    now = [0.0]
    fetcher = Fetcher(AllowedHosts(server.url), Credentials(PAT, clock=lambda: now[0]))
    for _ in range(3):
        fetcher.fetch(server.url + "/data/a.jpg")
    assert server.paths == ["/api/token/refresh/", *["/data/a.jpg"] * 3]
    assert json.loads(server.seen[0][3]) == {"refresh": PAT}
    assert server.authorizations() == [None, *["Bearer access-one"] * 3]
    now[0] = 299.0  # Label Studio's access tokens live 300 s
    fetcher.fetch(server.url + "/data/a.jpg")
    assert server.paths.count("/api/token/refresh/") == 2


def test_a_refused_access_token_is_renewed_once(server: Any) -> None:
    server.answers["/api/token/refresh/"] = (200, {}, b'{"access": "access-two"}')
    server.answers["/data/a.jpg"] = (401, {}, b"")
    with pytest.raises(FetchError, match=r"/data/a\.jpg: Label Studio refuses the token \(status 401\)"):
        _fetcher(server, PAT).fetch(server.url + "/data/a.jpg")
    assert server.paths == ["/api/token/refresh/", "/data/a.jpg"] * 2


def test_wrong_tokens_are_explained(server: Any) -> None:
    server.answers["/data/a.jpg"] = (401, {}, b"")
    with pytest.raises(FetchError, match="legacy tokens are off by default"):
        _fetcher(server, LEGACY).fetch(server.url + "/data/a.jpg")
    assert server.paths == ["/data/a.jpg"]  # asking again with the same token is pointless
    for status, body in ((401, b"{}"), (200, b"[]"), (200, b'{"access": 5}')):
        server.answers["/api/token/refresh/"] = (status, {}, body)
        with pytest.raises(FetchError, match="refused the personal access token"):
            _fetcher(server, PAT).fetch(server.url + "/data/a.jpg")
    server.answers["/api/token/refresh/"] = (200, {}, b"no json")
    with pytest.raises(FetchError, match="cannot be reached"):
        _fetcher(server, PAT).fetch(server.url + "/data/a.jpg")


def test_token_kinds() -> None:
    assert is_personal_access_token(PAT)
    assert not is_personal_access_token(LEGACY)


def test_tokens_never_go_to_another_host(server: Any, other_server: Any) -> None:
    other_server.answers["/a.jpg"] = (200, IMAGE, b"other")
    server.answers["/data/a.jpg"] = (302, {"location": other_server.url + "/a.jpg"}, b"")
    port = other_server.url.rpartition(":")[2]
    fetcher = _fetcher(server, LEGACY, hosts=[f"127.0.0.1:{port}", "127.0.0.0/8"])
    assert fetcher.fetch(server.url + "/data/a.jpg") == b"other"
    assert fetcher.fetch(other_server.url + "/a.jpg") == b"other"
    assert other_server.authorizations() == [None, None]
    assert server.authorizations() == [f"Token {LEGACY}"]


def test_redirects_are_checked(server: Any, other_server: Any) -> None:
    other_server.answers["/a.jpg"] = (200, IMAGE, b"other")
    targets = [
        other_server.url + "/a.jpg",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "/api/current-user/token",
        "//evil/a",
    ]
    for target in targets:
        server.answers["/data/a.jpg"] = (302, {"location": target}, b"")
        with pytest.raises(ForbiddenAddressError):
            _fetcher(server, LEGACY).fetch(server.url + "/data/a.jpg")
    assert other_server.seen == []
    assert set(server.paths) == {"/data/a.jpg"}


def test_redirects_within_label_studio_and_loops(server: Any) -> None:
    server.answers["/data/a.jpg"] = (301, {"location": "/data/b.jpg"}, b"")
    server.answers["/data/b.jpg"] = (200, IMAGE, b"b")
    assert _fetcher(server, LEGACY).fetch(server.url + "/data/a.jpg") == b"b"
    server.answers["/data/b.jpg"] = (302, {"location": "/data/a.jpg"}, b"")
    with pytest.raises(FetchError, match="redirects more than 3 times"):
        _fetcher(server).fetch(server.url + "/data/a.jpg")


def test_the_connection_goes_to_the_checked_address(server: Any) -> None:
    """The name resolves to this machine once and to a forbidden address ever after (DNS rebinding): never used."""
    port = int(server.url.rpartition(":")[2])
    answers = iter([["127.0.0.1"]] * 2 + [["169.254.169.254"]] * 9)
    fetcher = Fetcher(AllowedHosts(f"http://studio.invalid:{port}", resolve=lambda host, p: next(answers)))
    server.answers["/data/a.jpg"] = (200, IMAGE, b"a")
    assert fetcher.fetch(f"http://studio.invalid:{port}/data/a.jpg") == b"a"
    assert server.seen[0][2]["host"] == f"studio.invalid:{port}"
    with pytest.raises(ForbiddenAddressError):
        fetcher.fetch(f"http://studio.invalid:{port}/data/a.jpg")
    assert len(server.seen) == 1


def test_proxies_of_the_environment_are_ignored(server: Any, other_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other_server.url)
    server.answers["/data/a.jpg"] = (200, IMAGE, b"a")
    assert _fetcher(server).fetch(server.url + "/data/a.jpg") == b"a"
    assert other_server.seen == []


@pytest.mark.parametrize("declared", [{}, {"content-length": "100"}, {"content-length": "9999999"}])
def test_too_large_answers_are_cut_short(server: Any, declared: Any) -> None:
    server.answers["/data/a.jpg"] = (
        200,
        IMAGE | declared,
        bytes(10_000) if declared != {"content-length": "100"} else bytes(100),
    )
    limit = 50 if declared == {"content-length": "100"} else 5000
    with pytest.raises(FetchError, match=f"at most {limit:,} bytes"):
        _fetcher(server, limits=Limits(max_bytes=limit)).fetch(server.url + "/data/a.jpg")


def test_slow_answers_end(server: Any) -> None:
    server.answers["/data/a.jpg"] = (200, IMAGE, bytes(400_000))
    server.drip_s = 0.05  # each piece comes in time, the whole does not
    start = time.monotonic()
    with pytest.raises(FetchError, match=r"not complete after 0\.3 s"):
        _fetcher(server, timeouts=Timeouts(total_s=0.3)).fetch(server.url + "/data/a.jpg")
    server.drip_s = 1.0
    with pytest.raises(FetchError, match="does not answer in time"):
        _fetcher(server, timeouts=Timeouts(read_s=0.2)).fetch(server.url + "/data/a.jpg")
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, {"content-type": "text/html; charset=utf-8"}, b"<html>login"), "got a web page"),
        ((200, IMAGE | {"content-encoding": "gzip"}, b"x"), "compresses"),
        ((404, {}, b""), r"not found.*LOCAL_FILES_SERVING_ENABLED"),
        ((500, {}, b""), "status 500"),
        ((302, {}, b""), "status 302"),
        ((200, IMAGE | {"content-length": "50"}, b"short"), "cannot be fetched|not answer in time"),
    ],
)
def test_wrong_answers_are_explained(server: Any, answer: Any, message: Any) -> None:
    server.answers["/data/a.jpg"] = answer
    with pytest.raises(FetchError, match=message) as caught:
        _fetcher(server, LEGACY, timeouts=Timeouts(read_s=0.2)).fetch(server.url + "/data/a.jpg")
    assert isinstance(caught.value, UnreadableImageError)


def test_unreachable_server(server: Any) -> None:
    dead = AllowedHosts("http://127.0.0.1:1")
    with pytest.raises(FetchError, match="cannot be fetched"):
        Fetcher(dead, Credentials(LEGACY)).fetch("http://127.0.0.1:1/data/a.jpg")
    with pytest.raises(FetchError, match="cannot be reached"):
        Fetcher(dead, Credentials(PAT)).fetch("http://127.0.0.1:1/data/a.jpg")


def test_cached_answers_are_not_asked_again_but_checked(server: Any, tmp_path: Path) -> None:
    server.answers["/data/a.jpg"] = (200, IMAGE, b"a")
    cache = PictureCache(tmp_path, 10**6)
    fetcher = _fetcher(server, cache=cache)
    assert [fetcher.fetch(server.url + "/data/a.jpg") for _ in range(3)] == [b"a"] * 3
    assert len(server.seen) == 1
    fetcher.forget(server.url + "/data/a.jpg")
    fetcher.fetch(server.url + "/data/a.jpg")
    assert len(server.seen) == 2
    with pytest.raises(ForbiddenAddressError):
        Fetcher(AllowedHosts("http://elsewhere"), cache=cache).fetch(server.url + "/data/a.jpg")
    server.answers["/data/b.jpg"] = (404, {}, b"")
    with pytest.raises(FetchError):
        fetcher.fetch(server.url + "/data/b.jpg")
    assert cache.get(server.url + "/data/b.jpg") is None


def test_no_secret_in_logs_messages_or_representations(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers["/data/a.jpg"] = (200, IMAGE, b"a")
    server.answers["/api/token/refresh/"] = (200, {}, b'{"access": "access-one"}')
    texts = []
    for token in (LEGACY, PAT):
        credentials = Credentials(token)
        fetcher = Fetcher(AllowedHosts(server.url), credentials)
        fetcher.fetch(server.url + "/data/a.jpg")
        for path in ("/data/missing.jpg", "/api/x?signature=access-two"):
            with pytest.raises(FetchError) as caught:
                fetcher.fetch(server.url + path)
            texts.append(str(caught.value))
        texts += [repr(credentials), repr(vars(fetcher))]
    assert any(record.name.startswith("http") for record in caplog.records)  # the library does log at this level
    text = "\n".join([*texts, caplog.text, *(repr(record.args) for record in caplog.records)])
    for secret in SECRETS:
        assert secret not in text


def _forever(first: bytes, again: bytes) -> tuple[socket.socket, threading.Event]:
    """A server that says ``first`` and then ``again`` every few milliseconds, until nobody listens."""
    listening = socket.create_server(("127.0.0.1", 0))
    gone = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(first)
            while not gone.wait(0.02):
                connection.sendall(again)

    threading.Thread(target=serve, daemon=True).start()
    return listening, gone


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
DRIPS = {
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "headers": (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
    "more headers": (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", b"a"),
    "body without an end": (b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
    "chunks": (CHUNKED.removesuffix(b"0\r\n"), b"1\r\na\r\n"),
    "trailers": (CHUNKED, b"A: b\r\n"),
    "nothing": (b"", b""),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", DRIPS)
def test_whatever_a_server_drips_ends_with_the_time_of_the_picture(name: str) -> None:
    listening, gone = _forever(*DRIPS[name])
    with contextlib.closing(listening):
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        fetcher = Fetcher(AllowedHosts(url), timeouts=Timeouts(read_s=30.0, total_s=0.5))
        with pytest.raises(FetchError, match=r"not complete after 0\.5 s"):
            fetcher.fetch(url + "/data/a.jpg")
        gone.set()


@pytest.mark.timeout(60)
def test_the_answer_to_a_token_ends_with_its_time() -> None:
    listening, gone = _forever(*DRIPS["headers"])
    with contextlib.closing(listening):
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        fetcher = Fetcher(AllowedHosts(url), Credentials(PAT), timeouts=Timeouts(read_s=30.0, total_s=0.5))
        with pytest.raises(FetchError):
            fetcher.fetch(url + "/data/a.jpg")
        gone.set()


def test_no_cookie_is_kept(server: Any) -> None:
    server.answers["/data/a.jpg"] = (200, IMAGE | {"set-cookie": "session=theirs; Path=/"}, b"a")
    fetcher = _fetcher(server)
    fetcher.fetch(server.url + "/data/a.jpg")
    fetcher.fetch(server.url + "/data/a.jpg")
    assert [headers.get("cookie") for _, _, headers, _ in server.seen] == [None, None]


@pytest.mark.parametrize("location", ["http://[::1", "https://" + "a" * 70_000, "http://h:99999/", "\x00", "http://@h/"])
def test_a_redirect_to_nowhere_is_an_error_of_its_picture(server: Any, location: str) -> None:
    server.answers["/data/a.jpg"] = (302, {"location": location}, b"")
    with pytest.raises(UnreadableImageError):
        _fetcher(server).fetch(server.url + "/data/a.jpg")
