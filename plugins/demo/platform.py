"""A Label Studio of our own for the demo and the tests: its own virtual environment, SQLite, one folder."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from label_config.values.errors import ServiceError
from plugins.cli.processes.ports import free_port

START_TIMEOUT_S = 180.0


class PlatformError(ServiceError):
    """Label Studio did not start or did not answer."""


@dataclass
class Platform:
    """One Label Studio server.  ``folder`` holds its database and log, ``documents`` the pictures it serves."""

    program: Path
    folder: Path
    documents: Path
    port: int = field(default_factory=free_port)
    email: str = "admin@parallax.test"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    token: str = field(default_factory=lambda: secrets.token_hex(20))
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers.  Raises PlatformError with the end of its log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.documents.mkdir(parents=True, exist_ok=True)
        command = [str(self.program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "label-studio.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **self._settings()},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.3)
        raise PlatformError(
            f"Label Studio did not start on {self.url}; the end of {self.folder / 'label-studio.log'}:\n{self._tail()}"
        )

    def stop(self) -> None:
        """Stop the server that was started here, and only that."""
        if self.process is None or self.process.poll() is not None:
            return
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def _tail(self) -> str:
        return (self.folder / "label-studio.log").read_text(errors="replace")[-2000:]

    def _settings(self) -> dict[str, str]:
        settings = {
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder.resolve()),
            "LABEL_STUDIO_USERNAME": self.email,
            "LABEL_STUDIO_PASSWORD": self.password,
            "LABEL_STUDIO_USER_TOKEN": self.token,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_HOST": self.url,
            "LOCAL_FILES_SERVING_ENABLED": "true",
            "LOCAL_FILES_DOCUMENT_ROOT": str(self.documents.resolve()),
            # The backend and its webhook live on this machine; both checks refuse private addresses.
            "ML_BLOCK_LOCAL_IP": "false",
            "SSRF_PROTECTION_ENABLED": "false",
            "LATEST_VERSION_CHECK": "false",
            "COLLECT_ANALYTICS": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "LOG_LEVEL": "WARNING",
        }
        return settings | self.environment
