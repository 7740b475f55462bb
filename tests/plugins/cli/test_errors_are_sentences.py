"""Whatever stands in ``store`` and ``redis``, and whatever files are missing: one sentence, and no traceback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from typer.testing import Result

from label_config.values.errors import SettingsError
from ml_backend.jobs.queue import JobQueue, QueueAwayError
from ml_backend.jobs.worker_process import run_worker
from ml_backend.store import work
from ml_backend.store.statuses import JobKind
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync import hop_checks
from tests.small_project import write_spec

Run = Callable[..., Result]


def check_sentence(result: Result, words: str) -> None:
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert "hunter22" not in result.stderr


STORES = {
    "postgresql+psycopg://u:hunter22@127.0.0.1:99999/db": "invalid port number",
    "postgresql+psycopg://u:hunter22@127.0.0.1:-1/db": "invalid port number",
    "postgresql+psycopg://u:hunter22@127.0.0.1:abc/db": "store: expected sqlite:///path",
    "postgresql+psycopg://u:hunter22@127.0.0.1:9/db": "Connection refused",
    "postgresql+psycopg://u:hunter22@127.0.0.1:9/db?connect_timeout=abc": "connect_timeout",
    "postgresql+psycopg://u:hunter22@xn--äää/db": "cannot be opened",
    "postgresql+nodriver://u:hunter22@127.0.0.1/b": "store: expected sqlite:///path",
    "postgresql+asyncpg://u:hunter22@127.0.0.1/b": "store: expected sqlite:///path",
    "mysql://u:hunter22@127.0.0.1/b": "neither SQLite nor PostgreSQL",
    "sqlite+foo:///x": "there is no database at",
    "sqlite:////dev/null": "cannot be opened",
    "sqlite:////etc/passwd": "cannot be opened",
    f"sqlite:///{'a' * 300}": "File name too long",
    "sqlite:////proc/none/x": "there is no database at",
}


@pytest.mark.parametrize("address", STORES)
def test_an_address_that_is_no_store_is_one_sentence(run: Run, tmp_path: Path, address: str) -> None:
    write_spec(tmp_path, store=f"'{address}'")
    check_sentence(run("status"), STORES[address])


def test_a_store_is_not_restored_where_nothing_can_be(run: Run, tmp_path: Path) -> None:
    write_spec(tmp_path, store="sqlite:////proc/none/x")
    check_sentence(run("restore", str(tmp_path / "parallax.yaml")), "/proc/none")


@contextmanager
def somebody_who_says(answer: bytes) -> Iterator[str]:
    """A server that is no Redis: it answers everything with the same bytes."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(20)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(20)
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


NO_REDIS = {
    "a web server": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no Redis"),
    "half a character": (b"+\xff\xfe\r\n", "Redis"),
    "a length that is none": (b"$x\r\n", "Redis"),
    "nothing": (b"", "Redis does not answer"),
    "a refusal": (b"-NOAUTH Authentication required.\r\n", "Redis refuses the password"),
    "another password": (b"-WRONGPASS invalid username-password pair\r\n", "Redis refuses the password"),
    "a full one": (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "Redis"),
}


@pytest.mark.parametrize("name", NO_REDIS)
def test_what_is_no_redis_of_ours_is_one_sentence(workspace: Workspace, name: str) -> None:
    answer, words = NO_REDIS[name]
    work.request(workspace.store, JobKind.RETRAIN)
    with somebody_who_says(answer) as url, pytest.raises(QueueAwayError, match=words):
        JobQueue(url).enqueue_open_jobs(workspace)
    with somebody_who_says(answer) as url:
        JobQueue(url).predict(workspace, [1])  # says it in the log, and serves what there is
    with somebody_who_says(answer) as url, pytest.raises(QueueAwayError, match="Redis"):
        run_worker(["infer"], url, burst=True)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/0", "redis://:hunter22@127.0.0.1:abc/0", "127.0.0.1:6379", "redis://["])
def test_an_address_that_is_no_redis_is_one_sentence(
    run: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with pytest.raises(SettingsError, match="redis: expected redis://") as caught:
        JobQueue(address)
    assert "hunter22" not in str(caught.value)
    monkeypatch.setenv("PARALLAX_REDIS_URL", address)
    check_sentence(run("worker", "--queues", "infer"), "redis: expected redis://")
    spec = workspace.spec.model_copy(update={"redis": None})
    assert list(hop_checks._redis(spec)) == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("restore", "none.tar"), "found no such file"),
        (("restore", "."), "found no such file"),
        (("backup", "none/out.tar"), "No such file or directory"),
        (("backup", "a" * 300), "File name too long"),
        (("export", "coco", "parallax.yaml/out.json"), ""),
        (("calibration", "show", "none.toml"), ""),
        (("import", "none.csv"), ""),
    ],
)
def test_files_that_are_not_there_are_one_sentence(
    run: Run, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*command)
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert words in result.stderr
