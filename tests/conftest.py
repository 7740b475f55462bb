"""What tests share: the real recordings, a live Label Studio, a Redis server, and databases of both kinds."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml_backend.store.database import Store, open_store
from ml_backend.store.workspace import Workspace
from plugins.cli.processes.ports import free_port
from plugins.demo.platform import Platform
from tests.label_studio import fresh_platform
from tests.recorded_data import needed
from tests.s3 import S3Server
from tests.small_project import make_project

ROOT = Path(__file__).resolve().parents[1]
LABEL_STUDIO = Path(os.environ.get("PARALLAX_LABEL_STUDIO", ROOT / ".venv-ls/bin/label-studio"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests wait for servers come first, so that no worker is left with a long one at the end."""
    waiting = {item.path for item in items if any(item.get_closest_marker(mark) for mark in ("ls", "chaos"))}
    items.sort(key=lambda item: item.path not in waiting)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with the real recordings; tests that need it are skipped when it is absent."""
    return needed(".")


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A live Label Studio on SQLite, shared by the whole run; every test makes its own project."""
    if not LABEL_STUDIO.exists():
        pytest.fail(f"Label Studio is not installed at {LABEL_STUDIO}; run `make test`, or set PARALLAX_LABEL_STUDIO")
    server = fresh_platform(LABEL_STUDIO, tmp_path_factory.mktemp("label-studio"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3-compatible server, shared by the whole run; every test makes its own bucket."""
    server = S3Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of our own on a port of its own."""
    import redis

    from plugins.cli.processes.redis_server import redis_program

    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command = [str(redis_program()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    for _ in range(200):
        try:
            client.ping()
            break
        except redis.ConnectionError:
            server.poll()
    yield f"redis://127.0.0.1:{port}/0"
    client.close()
    server.terminate()
    server.wait(timeout=10)


def postgres_programs() -> Path | None:
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found: list[Path | str] = [*debian[::-1], *filter(None, [shutil.which("initdb")])]
    return Path(found[0]).parent if found else None


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of our own.

    Not in pytest's folder: every run of pytest that starts on this machine closes that one to other users, and so to a server
    that will not run as root.
    """
    with temporary_postgres() as url:
        if url is None:
            pytest.skip("PostgreSQL's server programs are not installed (Debian: apt-get install postgresql)")
        yield url


@contextmanager
def temporary_postgres() -> Iterator[str | None]:
    """The address of a server that lasts as long as the context; None where its programs are not installed."""
    programs = postgres_programs()
    if programs is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="parallax-postgres-") as folder:
        yield from _postgres_server(programs, Path(folder), free_port())


def _postgres_server(programs: Path, folder: Path, port: int) -> Iterator[str]:
    as_user: list[str] = []
    if os.getuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    data = folder / "data"
    run = [*as_user, str(programs / "initdb"), "-D", str(data), "-U", "parallax", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(run, check=True, capture_output=True, cwd="/")
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [
            *as_user,
            str(programs / "postgres"),
            "-D",
            str(data),
            "-p",
            str(port),
            "-k",
            str(folder),
            "-c",
            "listen_addresses=127.0.0.1",
        ],
        stdout=log,
        stderr=log,
        cwd="/",
    )
    try:
        _wait_for_postgres(programs, port, server)
        yield f"postgresql+psycopg://parallax@127.0.0.1:{port}/postgres"
        if server.poll() is not None:
            pytest.fail(f"PostgreSQL ended during the tests:\n{(folder / 'log').read_text()[-3000:]}")
    finally:
        log.close()
        server.terminate()
        server.wait(timeout=20)


def _wait_for_postgres(programs: Path, port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        ready = subprocess.run([str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-t", "1"], capture_output=True)
        if ready.returncode == 0:
            return
        if server.poll() is not None:
            pytest.fail("PostgreSQL stopped while starting")
    pytest.fail("PostgreSQL did not become ready")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        opened = open_store(f"sqlite:///{tmp_path}/store.sqlite3")
    else:
        opened = _empty_postgres(request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A small project in ``tmp_path``: six frames, five of them in the order that is served, px-1 live."""
    made = make_project(tmp_path)
    yield made
    made.store.close()


def _empty_postgres(url: str) -> Store:
    bare = open_store(url, migrate=False)
    with bare.write() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    bare.close()
    return open_store(url)
