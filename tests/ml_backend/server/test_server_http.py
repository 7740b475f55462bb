"""The same backend as ``parallax serve`` runs it: gunicorn, threads, a real socket."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from label_config.settings.caller_secret import SECRET_HEADER
from ml_backend.store import presence
from ml_backend.store.workspace import Workspace
from plugins.cli.commands.up import own_command, own_environment
from plugins.cli.processes.ports import free_port
from tests.small_project import SECRET

HEADERS = {SECRET_HEADER: SECRET}


class Backend:
    """A running ``parallax serve``."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.url, self.log = f"http://127.0.0.1:{(port := free_port())}", log
        command = own_command("-c", str(folder / "parallax.yaml"), "serve", "--port", str(port))
        # The home folder is the test's own, so that anything written there is seen.
        environment = {**os.environ, **own_environment(), "PARALLAX_SECRET": SECRET, "HOME": str(folder / "home")}
        environment.pop("PARALLAX_REDIS_URL", None)
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=folder)

    def wait(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=1).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        pytest.fail(f"the backend did not start:\n{self.log.read_text()}")


@pytest.fixture
def backend(workspace: Workspace, tmp_path: Path) -> Iterator[Backend]:
    server = Backend(tmp_path, tmp_path / "serve.log")
    try:
        server.wait()
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def ring(caller: httpx.Client) -> float:
    """One webhook; seconds it took."""
    started = time.perf_counter()
    assert caller.post("/webhook", json={"action": "ANNOTATION_CREATED", "project": {"id": 7}}).status_code == 202
    return time.perf_counter() - started


def test_over_http(workspace: Workspace, backend: Backend, tmp_path: Path) -> None:
    with httpx.Client(base_url=backend.url, timeout=5) as caller:
        assert caller.post("/setup", json={}).status_code == 401
        assert caller.post("/setup", json={}, headers=HEADERS).json() == {"model_version": "px-1.1"}
        (answer,) = caller.post("/predict", json={"tasks": [{"id": 100}]}, headers=HEADERS).json()["results"]
        assert answer["model_version"] == "px-1.1"
        assert caller.post("/predict", json={"tasks": [{"id": 105}]}, headers=HEADERS).status_code == 503
        assert "parallax_frames 6.0" in caller.get("/metrics", headers=HEADERS).text
    with httpx.Client(base_url=backend.url, timeout=5, headers=HEADERS) as caller:
        assert caller.post("/webhook", content=b" " * (10 * 2**20)).status_code == 413
        assert caller.post("/webhook", content=iter([b"{}"])).status_code == 411
        assert any(name.startswith("server@") for name in presence.alive(workspace.store))
        with ThreadPoolExecutor(8) as pool:
            took = sorted(pool.map(lambda _: ring(caller), range(200)))
    assert took[len(took) * 95 // 100] < 1.0, "Label Studio gives a webhook one second"
    assert workspace.project.pull_requested
    backend.process.send_signal(signal.SIGTERM)
    assert backend.process.wait(timeout=15) == 0
    log = backend.log.read_text()
    assert SECRET not in log
    assert "Traceback" not in log
    assert not (tmp_path / "home").exists()
