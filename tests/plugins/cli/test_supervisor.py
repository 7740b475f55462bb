"""Real child processes: what dies comes back, and everything ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from plugins.cli.commands.up import own_environment
from plugins.cli.processes.supervisor import Child, Supervisor

SLEEPER = [sys.executable, "-c", "import time; time.sleep(300)"]
#: Ignores SIGTERM and has a child of its own, which ignores it too.
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']); print(p.pid, flush=True); time.sleep(300)",
]


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that other processes do."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., tuple[Supervisor, list[str]]]]:
    """Starts a supervisor in a thread and stops it after the test."""
    running: list[tuple[Supervisor, threading.Thread]] = []

    def start(*children: Child) -> tuple[Supervisor, list[str]]:
        lines: list[str] = []
        supervisor = Supervisor(children, tmp_path / "logs", lines.append)
        thread = threading.Thread(target=supervisor.run)
        running.append((supervisor, thread))
        thread.start()
        return supervisor, lines

    yield start
    for supervisor, thread in running:
        supervisor.stop.set()
        thread.join(timeout=30)
        assert not thread.is_alive()


def pid_of(child: Child) -> int:
    until(lambda: child.running)
    assert child.process is not None
    return child.process.pid


def test_a_killed_child_is_started_again_and_the_others_run_on(supervise: Callable[..., tuple[Supervisor, list[str]]]) -> None:
    first, second = Child("first", SLEEPER), Child("second", SLEEPER)
    _, lines = supervise(first, second)
    killed, other = pid_of(first), pid_of(second)
    os.kill(killed, signal.SIGKILL)
    until(lambda: first.process is not None and first.process.pid != killed)
    assert pid_of(second) == other
    assert any("first was killed by signal 9" in line and "starts again in 1 s" in line for line in lines)


def test_restarts_wait_longer_and_longer(supervise: Callable[..., tuple[Supervisor, list[str]]], tmp_path: Path) -> None:
    broken = Child("broken", [sys.executable, "-c", "print('no luck'); raise SystemExit(3)"])
    _, lines = supervise(broken)
    until(lambda: broken.failures >= 2)
    ends = [line for line in lines if "ended with 3" in line]
    assert "starts again in 1 s" in ends[0]
    assert "starts again in 2 s" in ends[1]
    assert (tmp_path / "logs" / "broken.log").read_text().splitlines() == ["no luck"] * 2


def test_children_wait_for_the_one_that_must_be_ready(supervise: Callable[..., tuple[Supervisor, list[str]]]) -> None:
    ready = threading.Event()
    server, client = Child("server", SLEEPER, ready=ready.is_set), Child("client", SLEEPER)
    _, lines = supervise(server, client)
    pid_of(server)
    assert client.process is None
    ready.set()
    pid_of(client)
    assert [line.split()[0] for line in lines] == ["server", "client"]


def test_standard_input_reaches_the_child_and_not_its_command_line(
    supervise: Callable[..., tuple[Supervisor, list[str]]], tmp_path: Path
) -> None:
    code = "import sys, time; print(sys.stdin.read(), flush=True); time.sleep(300)"
    child = Child("reader", [sys.executable, "-c", code], stdin="password")
    supervise(child)
    log = tmp_path / "logs" / "reader.log"
    until(lambda: log.exists() and log.read_text().strip() == "password")
    assert "password" not in " ".join(psutil.Process(pid_of(child)).cmdline())


def test_stopping_ends_every_child_and_kills_those_that_will_not(
    supervise: Callable[..., tuple[Supervisor, list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.cli.processes.supervisor.GRACE_S", 1.0)
    mild, stubborn = Child("mild", SLEEPER), Child("stubborn", STUBBORN)
    supervisor, lines = supervise(mild, stubborn)
    log = tmp_path / "logs" / "stubborn.log"
    until(lambda: log.exists() and log.read_text().strip() != "")
    pids = [pid_of(mild), pid_of(stubborn), int(log.read_text())]
    supervisor.stop.set()
    until(lambda: all(gone(pid) for pid in pids))
    until(lambda: any("stubborn was killed" in line for line in lines))
    assert "mild ended" in lines


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent is gone")
def test_children_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from plugins.cli.processes.supervisor import Child, Supervisor;"
        "Supervisor([Child('c', [sys.executable, '-c', 'import time; time.sleep(300)'])], Path(sys.argv[1]),"
        " lambda line: print(line, flush=True)).run()"
    )
    environment = {**os.environ, **own_environment()}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline().split("pid ")[1].rstrip(")\n"))
        assert not gone(child)
        parent.kill()
        until(lambda: gone(child))


def test_the_reason_why_a_child_ended_is_said(supervise: Callable[..., tuple[Supervisor, list[str]]]) -> None:
    message = "import sys; print('starting'); sys.exit('parallax: no Redis: expected its address')"
    broken = "print('starting', flush=True); raise RuntimeError('a mistake of ours')"
    silent = "raise SystemExit(3)"
    programs = {"message": message, "broken": broken, "silent": silent}
    _, lines = supervise(*(Child(name, [sys.executable, "-c", program]) for name, program in programs.items()))
    until(lambda: sum("ended with" in line for line in lines) >= 3)
    first = {name: next(line for line in lines if line.startswith(f"{name} ended")) for name in programs}
    assert first["message"].startswith("message ended with 1: no Redis: expected its address; starts again in 1 s; log: ")
    assert first["broken"].startswith("broken ended with 1: RuntimeError: a mistake of ours; starts again")
    assert first["silent"].startswith("silent ended with 3; starts again"), "never a line of an earlier run"
