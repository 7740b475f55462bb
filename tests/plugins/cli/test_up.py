"""``parallax up`` with its own Redis: what it starts, what it writes, and that it all ends with it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty
from typer.testing import CliRunner

from label_config.settings.config_variable import CONFIG_VARIABLE
from ml_backend.jobs.queue import JobQueue
from ml_backend.store.workspace import Workspace
from plugins.cli.commands.up import children_of, own_command, own_environment, redis_child
from plugins.cli.main import app
from plugins.cli.processes.supervisor import Supervisor
from tests.small_project import write_spec

pytestmark = pytest.mark.redis


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something that other processes do."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_its_redis_has_a_password_and_leaves_nothing_behind(tmp_path: Path) -> None:
    child, url = redis_child()
    folder = Path(url.rpartition("@")[2].partition("?")[0]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    supervisor = Supervisor([child], tmp_path / "logs", lambda line: None)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        until(lambda: child.is_ready)
        with redis.Redis.from_url(url) as client:
            client.set("a", "1")
        password = url.split(":")[2].split("@")[0]
        with pytest.raises(redis.AuthenticationError), redis.Redis.from_url(url.replace(password, "wrong")) as stranger:
            stranger.ping()
        assert child.process is not None
        assert psutil.Process(child.process.pid).net_connections("inet") == []
        assert password not in " ".join(psutil.Process(child.process.pid).cmdline())
    finally:
        supervisor.stop.set()
        thread.join()
    assert list(folder.iterdir()) == []


def test_all_processes_with_one_secret_and_one_redis(workspace: Workspace, tmp_path: Path) -> None:
    children = children_of(workspace.spec, tmp_path / "parallax.yaml")
    assert [child.name for child in children] == ["redis", "serve", "infer", "train", "sync"]
    ours = children[1:]
    assert {child.environment[CONFIG_VARIABLE] for child in ours} == {str(tmp_path / "parallax.yaml")}
    for name in ("PARALLAX_REDIS_URL", "PARALLAX_SECRET"):
        assert len({child.environment[name] for child in ours}) == 1
        assert all(child.environment[name] not in " ".join(child.command) for child in ours)


def test_a_redis_of_the_user_is_used(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from label_config.settings.spec import load_spec

    monkeypatch.setenv("PARALLAX_REDIS_URL", "redis://elsewhere:6379/0")
    children = children_of(load_spec(tmp_path / "parallax.yaml"), tmp_path / "parallax.yaml")
    assert [child.name for child in children] == ["serve", "infer", "train", "sync"]
    assert children[0].environment["PARALLAX_REDIS_URL"] == "redis://elsewhere:6379/0"


@pytest.fixture
def up(workspace: Workspace, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A running ``parallax up`` in a folder of its own; Label Studio's address answers nobody."""
    output = tmp_path / "up.txt"
    environment = {**os.environ, **own_environment(), "LABEL_STUDIO_API_KEY": "a" * 40, "OMP_NUM_THREADS": "1"}
    command = own_command("-c", str(tmp_path / "parallax.yaml"), "up")
    with output.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, text=True, cwd=tmp_path)
    yield process, output
    process.kill()
    process.wait()


def pids(output: Path, name: str) -> list[int]:
    """Process numbers under which a child was started."""
    lines = [line.split() for line in output.read_text().splitlines()]
    return [int(words[-1].rstrip(")")) for words in lines if words[1:3] == [name, "started"]]


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_up_restarts_what_is_killed_and_ends_all(up: tuple[subprocess.Popen[str], Path], tmp_path: Path) -> None:
    process, output = up
    names = ["redis", "serve", "infer", "train", "sync"]
    until(lambda: all(pids(output, name) for name in names))
    first = pids(output, "serve")[0]
    os.kill(first, signal.SIGKILL)
    until(lambda: len(pids(output, "serve")) == 2)
    sync_log = tmp_path / ".parallax" / "logs" / "sync.log"
    until(lambda: sync_log.exists() and "did not answer" in sync_log.read_text())
    everything = [pid for name in names for pid in pids(output, name)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=40) == 0, output.read_text()
    until(lambda: not any(alive(pid) for pid in everything), seconds=5)
    assert sorted(path.name for path in (tmp_path / ".parallax" / "logs").iterdir()) == sorted(f"{name}.log" for name in names)
    secret = (tmp_path / ".parallax" / "secret").read_text().strip()
    for text in (output.read_text(), *(file.read_text() for file in (tmp_path / ".parallax" / "logs").iterdir())):
        assert secret not in text
        assert "a" * 40 not in text


def test_a_second_one_in_the_same_folder_is_refused(up: tuple[subprocess.Popen[str], Path], tmp_path: Path) -> None:
    process, output = up
    until(lambda: bool(pids(output, "serve")))
    environment = {**os.environ, **own_environment(), "LABEL_STUDIO_API_KEY": "a" * 40}
    command = own_command("-c", str(tmp_path / "parallax.yaml"), "up")
    second = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert second.returncode == 1
    assert f"runs already for {tmp_path} (process {process.pid})" in second.stderr


def test_a_port_that_is_taken_is_said_before_anything_starts(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "a" * 40)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        write_spec(tmp_path, more=f"backend: {{port: {port}}}\n")
        result = CliRunner().invoke(app, ["-c", str(tmp_path / "parallax.yaml"), "up"])
    assert result.exit_code == 1
    assert f"127.0.0.1:{port} cannot be listened on" in result.stderr
    assert "backend.port" in result.stderr
    assert not (tmp_path / ".parallax" / "logs").exists()


class Worker(SimpleWorker):
    """As ours, but in a thread of the test."""

    death_penalty_class = TimerDeathPenalty

    def _install_signal_handlers(self) -> None:
        """Only the main thread may."""


def test_a_request_waits_for_the_worker_and_no_longer(
    workspace: Workspace, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted: list[list[int]] = []
    monkeypatch.setattr("ml_backend.jobs.run_job.predict_now", predicted.append)
    queue = JobQueue(redis_url)
    queue.connection.flushdb()
    started = time.monotonic()
    queue.predict(workspace, [3, 1], wait_s=1.0)  # nobody works: the request ends, and so does the message
    assert 1.0 <= time.monotonic() - started < 3.0
    until(lambda: queue.connection.keys("rq:job:parallax-predict-*") == [], seconds=5)
    infer = Queue("infer", connection=queue.connection, serializer=JSONSerializer)
    worker = Worker([infer], connection=queue.connection, serializer=JSONSerializer)
    threads = [threading.Thread(target=queue.predict, args=(workspace, ids)) for ids in ([3, 1], [1, 3])]
    for thread in threads:
        thread.start()
    until(lambda: len(infer) >= 1)
    worker.work(burst=True, logging_level="ERROR")
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert predicted == [[1, 3]]


def test_a_redis_that_is_away_ends_the_request(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    JobQueue("redis://127.0.0.1:9/0").predict(workspace, [1])
    assert "Redis does not answer" in caplog.text


def test_children_are_started_where_no_other_plugins_folder_can_be_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    run = subprocess.run(
        own_command("version"), cwd=tmp_path, env={**os.environ, **own_environment()}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert sys.executable == own_command()[0]
