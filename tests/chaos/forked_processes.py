"""Processes of the loop that are forked from one that has imported everything: real ones, without the seconds of importing."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.chaos.harness import Process

_PRELOADED = [
    *("plugins.cli.main", "plugins.cli.context", "plugins.cli.processes.clock", "plugins.label_studio_sync.tick"),
    *("plugins.label_studio_sync.webhook_and_backend", "ml_backend.jobs.worker_process", "ml_backend.server.http_server"),
    *("ml_backend.server.app", "ml_backend.pose.networks.unet_small", "psycopg", "tests.chaos.forked_processes"),
    # PyTorch imports this, and sympy with it, at the first step of an optimiser: two seconds and more in every worker.
    "torch._dynamo",
    "httpcore",  # the first call over HTTP imports it, and trio with it
]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_PRELOADED)
_one_at_a_time = threading.Lock()


def run_command(arguments: list[str], environment: dict[str, str], log: str, patch: Callable[[], None] | None) -> None:
    """In the new process: what ``python -m plugins.cli.main`` does."""
    from ml_backend.store import fault_points
    from plugins.cli.main import app

    os.setsid()
    os.environ.update(environment)
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", 0, closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0, closefd=False), write_through=True)
    wanted = environment.get(fault_points.VARIABLE)
    fault_points._fault = fault_points.Fault(wanted) if wanted else None
    if patch is not None:
        patch()
    app(arguments)


class _Running:
    """A forked process with the parts of ``subprocess.Popen`` that the harness uses."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path, patch: Callable[[], None] | None) -> None:
        self.process = _context.Process(target=run_command, args=(command, environment, str(log), patch), daemon=False)
        with _one_at_a_time:
            self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("forked", timeout or 0)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class ForkedProcess(Process):
    """A process of the loop; ``command`` are arguments of ``parallax``, ``patch`` is called in it before it begins."""

    patch: Callable[[], None] | None = None

    def start(self, **more: str) -> None:
        """Start it, with more environment variables this once."""
        self.popen = _Running(self.command, {**self.environment, **more}, self.log, self.patch)  # type: ignore[assignment]
        self.starts.append(time.time())
