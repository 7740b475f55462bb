"""An adopted project's pictures reach the workers, however Label Studio keeps and serves them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import httpx
import numpy as np
import pytest

from ml_backend.project.frame_pictures import Pictures
from ml_backend.store import frames
from plugins.cli.processes.ports import free_port
from plugins.demo.platform import Platform
from plugins.label_studio_sync.adoption_plan import understand
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.hop_checks import examine
from plugins.label_studio_sync.pull import pull
from plugins.label_studio_sync.set_up import carry_out
from tests.conftest import LABEL_STUDIO
from tests.label_studio import fresh_platform
from tests.s3 import S3Server

from .conftest import make_spec

pytestmark = pytest.mark.ls

XML = """<View><Image name="img" value="$image"/><KeyPointLabels name="kp" toName="img">
  <Label value="Nose"/><Label value="Tail"/></KeyPointLabels></View>"""
NAME = "mouse 3 (ä+ö #1) [b].png"


class Proxy(BaseHTTPRequestHandler):
    """Serves what is behind it below /ls, as the example configurations for nginx do."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not self.path.startswith("/ls/"):
            self.send_error(404)
            return
        url = f"{self.server.behind}{self.path.removeprefix('/ls')}"  # type: ignore[attr-defined]
        sent = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "accept-encoding")}
        answer = httpx.request(self.command, url, content=body, headers={**sent, "Accept-Encoding": "identity"}, timeout=60)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_POST = do_PATCH = do_DELETE = do_GET

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def below_a_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, str]]:
    """A server whose public address has a path, and that address."""
    proxy = ThreadingHTTPServer(("127.0.0.1", free_port()), Proxy)
    public = f"http://127.0.0.1:{proxy.server_port}/ls"
    folder = tmp_path_factory.mktemp("label-studio-below-a-path")
    server = fresh_platform(LABEL_STUDIO, folder, {"LABEL_STUDIO_HOST": public})
    proxy.behind = server.url  # type: ignore[attr-defined]
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        server.start()
        yield server, public
    finally:
        server.stop()
        proxy.shutdown()
        thread.join()
        proxy.server_close()


def picture(number: int) -> bytes:
    """A picture of its own grey."""
    return cv2.imencode(".png", np.full((24, 32, 3), 40 * number, np.uint8))[1].tobytes()


def fill(client: Client, platform: Platform, s3: S3Server, public: str) -> int:
    """A project with one picture of each kind; the frame number is that of its grey."""
    project = int(client.create_project("theirs", XML)["id"])
    token = {"Authorization": f"Token {platform.token}"}
    answer = httpx.post(
        f"{platform.url}/api/projects/{project}/import", files={"file": (NAME, picture(0))}, headers=token, timeout=60
    )
    answer.raise_for_status()
    (uploaded,) = client.tasks(project, fields="id,data")
    client.delete_task(uploaded["id"])
    folder = platform.documents.resolve() / f"theirs {project}"
    folder.mkdir()
    client.create_local_storage(project, str(folder), "disk")
    for number in (1, 2):
        (folder / f"{number} {NAME}").write_bytes(picture(number))
    local = [f"/data/local-files/?d={quote(f'theirs {project}/{number} {NAME}')}" for number in (1, 2)]
    data = [uploaded["data"]["image"], local[0], f"{public}{local[1]}"]
    for number, presign in ((3, True), (4, False)):
        bucket = f"bucket-{secrets.token_hex(4)}"
        s3.make_bucket(bucket)
        s3.put(bucket, NAME, picture(number))
        access = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        where = {"project": project, "bucket": bucket, "s3_endpoint": s3.url, "presign": presign, "use_blob_urls": True}
        client.call("POST", "api/storages/s3/", body={**where, **access, "title": bucket})
        data.append(f"s3://{bucket}/{NAME}")
    client.import_tasks(project, [{"image": address, "frame": number} for number, address in enumerate(data)])
    return project


@cache  # a user may have one
def personal_token(url: str, legacy: str) -> str:
    """A personal access token of the server's first user."""
    with closing(Client(url, legacy)) as client:
        client.call("POST", "api/jwt/settings", body={"api_tokens_enabled": True, "legacy_api_tokens_enabled": True})
        return str(client.call("POST", "api/token/", body={})["token"])


TOKENS: dict[str, Callable[[Platform], str]] = {
    "legacy": lambda platform: platform.token,
    "personal": lambda platform: personal_token(platform.url, platform.token),
}


@pytest.fixture
def adopt_and_read(s3: S3Server, tmp_path: Path) -> Callable[..., list[int]]:
    """Adopts a project with pictures of every kind, as ``parallax init`` does; the greys that its workers see."""

    def run(platform: Platform, url: str, public: str, kind: str, told: str | None = None) -> list[int]:
        with closing(Client(platform.url, platform.token)) as admin:
            project = fill(admin, platform, s3, public)
            token = TOKENS[kind](platform)
        spec = make_spec(
            platform,
            tmp_path,
            label_studio={"url": url, "token": token, "project": project, "public_url": told},
            frames={"index": "frame"},
            cache={"folder": str(tmp_path / "cache"), "hosts": [f"127.0.0.1:{s3.port}", "127.0.0.1"]},
            backend={"url": f"http://127.0.0.1:{free_port()}", "secret": "hush"},
        )
        with closing(Client(url, token)) as client:
            plan = understand(spec, client)
            said = [line for line in plan.lines if "can be fetched" in line or "cannot be used" in line]
            assert [line.partition(";")[0] for line in said] == [
                "uploaded pictures (1) can be fetched",
                "pictures in a local storage (2) can be fetched",
                "pictures in a cloud storage (2) can be fetched",
            ]
            workspace = carry_out(plan, "hush")
            pull(workspace, client)
        rows = frames.list_frames(workspace.store)
        with closing(Pictures(workspace)) as pictures:
            greys = [int(pictures.read(row.images["img"])[0, 0, 0]) // 40 for row in rows]
        assert [f.state for f in examine(workspace.spec) if f.hop == "pictures"] == ["ok"] * 3
        workspace.store.close()
        return greys

    return run


@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_at_the_root(platform: Platform, adopt_and_read: Callable[..., list[int]], kind: str) -> None:
    assert adopt_and_read(platform, platform.url, platform.url, kind) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_below_a_path(below_a_path: tuple[Platform, str], adopt_and_read: Callable[..., list[int]], kind: str) -> None:
    server, public = below_a_path
    assert adopt_and_read(server, public, public, kind) == [0, 1, 2, 3, 4]


def test_from_inside_where_browsers_use_another_address(
    below_a_path: tuple[Platform, str], adopt_and_read: Callable[..., list[int]]
) -> None:
    server, public = below_a_path
    assert adopt_and_read(server, server.url, public, "personal", told=public) == [0, 1, 2, 3, 4]
