"""What is wrong with a project's pictures is said before anything else happens, with the fix."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest

from label_config.settings.spec import Spec
from plugins.cli.processes.ports import free_port
from plugins.label_studio_sync.picture_check import Tried, try_pictures

PICTURE = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()


@dataclass
class Server:
    """``answers[path]`` = (status, body)."""

    port: int
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = state.answers.get(self.path.partition("?")[0], (404, b""))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Server(httpd.server_port)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def tried(server: Server, *addresses: str, url: str | None = None, hosts: tuple[str, ...] = ()) -> list[Tried]:
    spec = Spec.model_validate({"label_studio": {"url": url or server.url, "token": "t" * 40}, "cache": {"hosts": hosts}})
    return try_pictures(spec, [(f"task {n}, view img", address) for n, address in enumerate(addresses, 1)])


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"", "Label Studio refuses the token (status 401)"),
        (403, b"", "Label Studio refuses the token (status 403)"),
        (404, b"", "not found (status 404); is LOCAL_FILES_SERVING_ENABLED on"),
        (502, b"", "the server answers with status 502"),
        (200, PICTURE[:-20], "is cut off"),
        (200, b"hello", "expected a JPEG, PNG"),
    ],
)
def test_a_picture_on_label_studio_that_cannot_be_used_says_why(server: Server, status: int, body: bytes, words: str) -> None:
    server.answers["/data/local-files/"] = (status, body)
    (found,) = tried(server, "label-studio:///data/local-files/?d=a.png")
    assert words in str(found.problem)
    assert found.seen.startswith("pictures in a local storage (1) cannot be used; tried task 1, view img: ")


def test_one_of_each_kind_is_tried_and_all_are_counted(server: Server) -> None:
    server.answers["/data/upload/1/a.png"] = (200, PICTURE)
    found = tried(
        server,
        "label-studio:///data/upload/1/a.png",
        "label-studio:///data/upload/1/gone.png",
        "label-studio:///tasks/3/resolve/?fileuri=x",
        f"http://127.0.0.1:{free_port()}/a.png",
        "/disk/a.png",
    )
    assert [(one.kind.partition(":")[0], one.count, one.problem is None) for one in found] == [
        ("uploaded pictures", 2, True),
        ("pictures in a cloud storage", 1, False),
        ("pictures from 127.0.0.1", 1, False),
    ]
    assert "is not listed; add it to cache.hosts" in str(found[2].problem)


def test_a_host_that_is_listed_and_refuses_is_not_taken_for_label_studio(server: Server) -> None:
    server.answers["/a.png"] = (403, b"")
    (found,) = tried(server, f"{server.url}/a.png", url="http://127.0.0.1:9", hosts=(f"127.0.0.1:{server.port}", "127.0.0.1"))
    assert str(found.problem).endswith("the server answers with status 403")


def test_a_server_that_is_away_is_said(server: Server) -> None:
    (found,) = tried(server, "label-studio:///data/upload/1/a.png", url=f"http://127.0.0.1:{free_port()}")
    assert "cannot be fetched (ConnectError)" in str(found.problem)
