"""Opening the database: SQLite (WAL) for one machine, PostgreSQL for a team, brought to the newest schema by Alembic."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from label_config.values import BadInputError, ParallaxError
from label_config.values.errors import ServiceError, SettingsError
from label_config.values.private_files import close_files, make_folder
from label_config.values.refusing import cause_of, refusing
from label_config.values.shown_address import shown_address

T = TypeVar("T")

#: Rows or numbers in one statement; well under SQLite's limit on bound values.
BATCH = 500
#: SQLite waits this long for another writer before it gives up.
BUSY_TIMEOUT_S = 30
#: Processes write a heartbeat every 10 to 30 seconds; one whose last heartbeat is older than this is gone.
STILL_ALIVE_S = 60.0


def batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in pieces that one statement can take."""
    return (values[start : start + BATCH] for start in range(0, len(values), BATCH))


class Store:
    """A database with short transactions.  Safe to share between threads, not between forked processes."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(parallax_write=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of the data."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One atomic change.  On SQLite the write lock is taken at once, so that no upgrade can fail half-way."""
        with self._writing.connect() as connection, connection.begin():
            yield connection

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    def of_project(self, project_id: int) -> ProjectStore:
        """Return the same database, bound to one project."""
        return ProjectStore(self.engine, project_id)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


class ProjectStore(Store):
    """A database bound to the project whose rows are read and written: most functions of this room take it."""

    def __init__(self, engine: Engine, project_id: int) -> None:
        super().__init__(engine)
        self.project_id = project_id


def open_store(url: str, *, migrate: bool = True, create: bool = True) -> Store:
    """Connect to ``url`` (``sqlite:///path`` or ``postgresql+psycopg://…``) and bring its schema up to date.

    create  make an SQLite file that is not there yet
    Raises SettingsError for an address that is neither, BadInputError for a file that is no store of ours, and ServiceError
    for a database that cannot be opened.
    """
    expected = "sqlite:///path or postgresql+psycopg://user:password@host:port/name"
    with refusing(SettingsError, f"store: expected {expected}, got {shown_address(url)!r}"):
        address = make_url(url)
        file = Path(address.database) if address.get_backend_name() == "sqlite" and address.database else None
        is_new = file is not None and not file.exists()
        store = Store(_engine(address, create))
    if migrate:
        try:
            upgrade(store)
            if is_new and file is not None:
                close_files(file.parent.glob(f"{file.name}*"))  # its journals too
        except ParallaxError:
            store.close()
            raise
        except Exception as error:  # the database's own kinds, and whatever a driver makes of an address
            store.close()
            raise _unopened(url, error) from error
    return store


def _unopened(url: str, error: Exception) -> ServiceError:
    cause = error.orig if isinstance(error, DBAPIError) and isinstance(error.orig, Exception) else error
    return ServiceError(
        f"store: the database {shown_address(url)} cannot be opened: {shown_address(cause_of(cause))}. Is it there, whole, and "
        "writable for this user? If it is damaged, `parallax restore` fills a new one from a backup"
    )


def _engine(url: URL, create: bool) -> Engine:
    backend = url.get_backend_name()
    if backend == "sqlite":
        if url.database and url.database != ":memory:":
            _check_file(Path(url.database), create)
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
        _prepare_sqlite(engine)
        return engine
    if backend == "postgresql":
        return create_engine(url, pool_pre_ping=True)
    raise ArgumentError(f"{backend!r} is neither SQLite nor PostgreSQL")


def _check_file(path: Path, create: bool) -> None:
    """A file that was lost, cut to nothing or belongs to somebody else must not become a new store."""
    if not path.exists():
        if not create:
            raise BadInputError(f"store: there is no database at {path}; run `parallax init` first, or `parallax restore`")
        try:
            make_folder(path.parent)
        except OSError as error:
            raise ServiceError(
                f"store: {path.parent}: {error.strerror}; is the path right, and may this user read and write there?"
            ) from error
        return
    if path.is_file() and path.stat().st_size == 0:
        raise BadInputError(
            f"store: {path} is empty, as after a full disk or a copy that broke off; a new store would hide that its content is "
            "lost. Put the file back from a backup, or delete it and run `parallax restore` or `parallax init`"
        )
    # Opened for reading only: whatever else opens it turns its journal into ours.
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    except sqlite3.Error as error:
        raise _unopened(str(path), error) from error
    if names and "alembic_version" not in names:
        raise BadInputError(
            f"store: {path} is a database of something else (tables {', '.join(names)[:80]}); name another file in parallax.yaml"
        )


def upgrade(store: Store) -> None:
    """Bring the schema to the newest revision; nothing happens when it is there already.

    Raises ParallaxError for a store of a newer release, and for one that processes of an earlier release work with.
    """
    with store.write() as connection:
        if store.dialect == "postgresql":
            # Two processes may start at the same moment; the second one waits and finds nothing to do.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(724512)")
        config = Config()
        config.set_main_option("script_location", "ml_backend.store:migrations")
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]  # the newest first
        held = MigrationContext.configure(connection).get_current_revision()
        if held is not None and held not in known:
            raise ParallaxError(
                f"the store was upgraded by a newer Parallax: its schema has revision {held}, this one knows them up to "
                f"{known[0]}. Stop this one, and update this installation to the version that upgraded it (`parallax version`)"
            )
        if held == known[0]:
            return
        if held is not None:
            _check_nobody_works(connection, held, known[0])
        command.upgrade(config, "head")


def _check_nobody_works(connection: Connection, held: str, wanted: str) -> None:
    """Processes that run keep to the schema that they were written for."""
    rows = connection.exec_driver_sql("SELECT process, at FROM heartbeats").all()
    now = time.time()
    ages = {row.process: abs(now - row.at) for row in rows if abs(now - row.at) < STILL_ALIVE_S}
    if ages:
        raise ParallaxError(
            f"the store must be upgraded to revision {wanted}, and processes of an earlier release work with it: "
            f"{', '.join(f'{name} (last sign of life {age:.0f} s ago)' for name, age in sorted(ages.items()))}. First stop "
            f"`parallax up`, or the workers, sync and backend, of revision {held}; if they are stopped, "
            f"wait {STILL_ALIVE_S:.0f} s"
        )


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(dbapi_connection: Any, _record: Any) -> None:
        # The driver's own transaction handling is switched off: it begins too late for BEGIN IMMEDIATE.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("parallax_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
