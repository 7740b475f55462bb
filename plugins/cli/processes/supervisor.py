"""Child processes that are kept running: what dies is started again, and all of them end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from label_config.values.private_files import make_folder, open_private

#: Restarts wait 1, 2, 4 … seconds; a child that ran this long starts again from 1.
MAX_BACK_OFF_S = 30.0
STABLE_S = 60.0
#: Time to end after SIGTERM, before SIGKILL.
GRACE_S = 15.0
POLL_S = 0.2
MAX_LOG_BYTES = 20 * 2**20
#: Of what a child wrote before it ended so much is read, and of its last line so much is said.
REASON_BYTES, REASON_LENGTH = 8192, 400
_PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """One process to keep running.

    stdin  is written to it at every start and then closed; a place for what must not be seen in a list of processes
    ready  is asked after every start; the children behind it in the list wait for it
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    ready: Callable[[], bool] | None = None
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    log_start: int = 0
    failures: int = 0
    start_at: float = 0.0

    _was_ready: bool = False

    @property
    def running(self) -> bool:
        """The process is there."""
        return self.process is not None and self.process.poll() is None

    @property
    def is_ready(self) -> bool:
        """Children behind this one may start; asked until it is so once per start."""
        if self.ready is None:
            return True
        self._was_ready = self.running and (self._was_ready or self.ready())
        return self._was_ready


class Supervisor:
    """Keeps children running until ``stop`` is set.

    logs  folder that gets one file per child
    say   gets one line per event
    """

    def __init__(self, children: Sequence[Child], logs: Path, say: Callable[[str], None]) -> None:
        self.children, self.logs, self.say = list(children), logs, say
        self.stop = threading.Event()

    def run(self) -> None:
        """Until stopped; then every child has ended."""
        make_folder(self.logs)
        try:
            while not self.stop.is_set():
                self._look()
                self.stop.wait(POLL_S)
        finally:
            self._end()

    def _look(self) -> None:
        """Start in order what is not running and may start; stop at the first one that others must wait for."""
        for child in self.children:
            if child.process is not None and not child.running:
                self._died(child)
            if child.process is None and time.monotonic() >= child.start_at:
                self._start(child)
            if not child.is_ready:
                return

    def _start(self, child: Child) -> None:
        log = self.logs / f"{child.name}.log"
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        child.log_start = log.stat().st_size if log.exists() else 0
        with open(log, "ab", opener=open_private) as output:
            child.process = subprocess.Popen(
                list(child.command),
                env={**os.environ, **child.environment},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends its children in order
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        assert child.process.stdin is not None
        try:
            child.process.stdin.write(child.stdin.encode())
            child.process.stdin.close()
        except BrokenPipeError:
            pass  # it ended at once; the next look says so
        child.started_at = time.monotonic()
        self.say(f"{child.name} started (pid {child.process.pid})")

    def _died(self, child: Child) -> None:
        assert child.process is not None
        if time.monotonic() - child.started_at > STABLE_S:
            child.failures = 0
        child.failures += 1
        pause = min(MAX_BACK_OFF_S, 2.0 ** (child.failures - 1))
        child.start_at = time.monotonic() + pause
        how = _ending(child.process.returncode)
        self.say(f"{child.name} {how}{self._reason(child)}; starts again in {pause:.0f} s; log: {self.logs / child.name}.log")
        child.process, child._was_ready = None, False

    def _reason(self, child: Child) -> str:
        """The last line that it wrote: our own message, or the error at the end of a traceback."""
        with (self.logs / f"{child.name}.log").open("rb") as log:
            log.seek(max(child.log_start, log.seek(0, os.SEEK_END) - REASON_BYTES))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1].removeprefix('parallax: ')[:REASON_LENGTH]}" if lines else ""

    def _end(self) -> None:
        """Those that others wait for end last: workers hand back their jobs while Redis is still there."""
        running = [child for child in self.children if child.running]
        deadline = time.monotonic() + GRACE_S
        servants = [child for child in running if child.ready is not None]
        for group in ([child for child in running if child.ready is None], servants):
            for child in group:
                _signal(child, signal.SIGTERM)
            for child in group:
                self._wait(child, deadline)

    def _wait(self, child: Child, deadline: float) -> None:
        assert child.process is not None
        try:
            child.process.wait(timeout=max(0.5, deadline - time.monotonic()))
            self.say(f"{child.name} ended")
        except subprocess.TimeoutExpired:
            _signal(child, signal.SIGKILL)
            child.process.wait()
            self.say(f"{child.name} was killed: it did not end within {GRACE_S:.0f} s")


def _signal(child: Child, number: signal.Signals) -> None:
    """SIGTERM to the process, which knows its own children; SIGKILL to its whole group, because it can no longer tell them."""
    if child.process is None or child.process.poll() is not None:
        return
    if number == signal.SIGKILL:
        os.killpg(child.process.pid, number)
    else:
        child.process.send_signal(number)


def _ending(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with {code}"


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """In the child, before it becomes another program: SIGTERM when this supervisor is gone, however it went."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
