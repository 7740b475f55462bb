"""An S3-compatible server on this machine for tests: buckets and objects over plain HTTP."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx

from plugins.cli.processes.ports import free_port

START_TIMEOUT_S = 120.0


@dataclass
class S3Server:
    """A process of moto's server.  Any key and secret are accepted."""

    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address for ``s3_endpoint``."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers.  Raises RuntimeError when it does not."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                httpx.get(f"{self.url}/moto-api/", timeout=2)
                return
            except httpx.HTTPError:
                time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"the S3 server did not start on {self.url}")

    def stop(self) -> None:
        """Stop the server that was started here."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)

    def make_bucket(self, bucket: str) -> None:
        """Create an empty bucket; its name has at least three letters."""
        httpx.put(f"{self.url}/{bucket}").raise_for_status()

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Write an object."""
        httpx.put(f"{self.url}/{bucket}/{quote(key)}", content=content).raise_for_status()
