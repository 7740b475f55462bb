"""Backup archives: every table as JSON lines, the arrays and the models, in one plain tar with a manifest of checksums.

The same archive is written from, and read into, SQLite and PostgreSQL.  It is not compressed: what counts in it is
incompressible, and a plain tar cannot hold more than its own size.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from alembic.migration import MigrationContext
from sqlalchemy import JSON, Boolean, Column, Connection, Float, Integer, Table, func, select

from label_config.values import BadInputError, ParallaxError
from label_config.values.atomic_files import write_atomically
from label_config.values.json_values import text_of
from label_config.values.refusing import refusing
from ml_backend.store.database import Store
from ml_backend.store.schema import heartbeats, leases, metadata, projects

FORMAT = 1
MANIFEST = "manifest.json"
#: Far above any real backup; a larger count is an attempt to exhaust the disk's file table.
MAX_MEMBERS = 100_000
_CHUNK = 2**20
_ROWS = 200
#: Who is alive at this moment means nothing later.
_LEFT_OUT = (leases, heartbeats)
_TABLES = [table for table in metadata.sorted_tables if table not in _LEFT_OUT]


@dataclass(frozen=True)
class Contents:
    """What an archive holds."""

    rows: int
    files: int
    bytes: int
    created_at: float


def write_archive(store: Store, folders: dict[str, Path], path: Path) -> Contents:
    """Write the archive; ``folders`` gives each folder its name in it.  The file appears when it is complete.

    Safe while everything runs: the tables are one consistent view, the files are immutable.
    """
    if path.exists():
        raise BadInputError(f"{path}: exists already; choose another name, so that no backup is lost")
    sums: dict[str, str] = {}
    created_at = time.time()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                revision, rows = _add_tables(store, tar, sums)
                for name, folder in folders.items():
                    _add_folder(tar, name, folder, sums)
                manifest = {"format": FORMAT, "schema": revision, "created_at": created_at, "rows": rows, "sha256": sums}
                _add(tar, MANIFEST, io.BytesIO(json.dumps(manifest).encode()))
            size = file.tell()
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return Contents(sum(rows.values()), len(sums) - len(_TABLES), size, created_at)


def _add_tables(store: Store, tar: tarfile.TarFile, sums: dict[str, str]) -> tuple[str, dict[str, int]]:
    engine = store.engine
    if store.dialect == "postgresql":  # one view of all tables; SQLite's transactions are that anyway
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    rows: dict[str, int] = {}
    with engine.connect() as connection, connection.begin():
        for table in _TABLES:
            with tempfile.TemporaryFile() as lines:
                rows[table.name] = 0
                for row in connection.execute(select(table)).yield_per(_ROWS):
                    lines.write(json.dumps(dict(row._mapping)).encode() + b"\n")
                    rows[table.name] += 1
                name = f"tables/{table.name}.jsonl"
                sums[name] = _add(tar, name, lines)
        return _revision(connection), rows


def _revision(connection: Connection) -> str:
    return str(MigrationContext.configure(connection).get_current_revision())


def _add_folder(tar: tarfile.TarFile, name: str, folder: Path, sums: dict[str, str]) -> None:
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or file.is_symlink() or not file.is_file():
            continue  # half-written files have names that begin with a dot
        try:
            content = file.open("rb")
        except FileNotFoundError:
            continue  # an old shard that was cleaned up meanwhile
        with content:
            member = f"{name}/{relative.as_posix()}"
            sums[member] = _add(tar, member, content)


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes]) -> str:
    """Append one file; its SHA-256."""
    info = tarfile.TarInfo(name)
    info.size = content.seek(0, io.SEEK_END)
    info.mtime = int(time.time())
    content.seek(0)
    reader = _Hashing(content)
    tar.addfile(info, reader)
    return reader.digest.hexdigest()


class _Hashing:
    """A file that remembers the checksum of what was read from it."""

    def __init__(self, content: IO[bytes]) -> None:
        self.content, self.digest = content, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.content.read(size)
        self.digest.update(data)
        return data


def read_archive(path: Path, store: Store, folders: dict[str, Path]) -> Contents:
    """Fill an empty store.  Nothing is written before the whole archive has been checked.

    Raises BadInputError for a file that is no archive, is damaged or holds what no archive of ours holds; ParallaxError
    for a store that has a project already.
    """
    with store.read() as connection:
        if connection.execute(select(func.count()).select_from(projects)).scalar_one():
            raise ParallaxError(
                "the store is not empty: a backup is only restored into a new one. Name another `store` in parallax.yaml, "
                "or move the old files away"
            )
        revision = _revision(connection)
    with refusing(BadInputError, f"{path}: expected a backup written by `parallax backup`"), tarfile.open(path, mode="r:") as tar:
        members = _checked_members(path, tar, folders)
        manifest = _manifest(path, tar, members)
        if manifest["schema"] != revision:
            raise BadInputError(
                f"{path}: its tables have revision {str(manifest['schema'])[:40]}, this version of Parallax has {revision}; "
                "restore with the version that wrote it, then upgrade"
            )
        _verify(path, tar, members, manifest["sha256"])
        created_at = float(manifest["created_at"])
        # The rows are checked by the database itself: they stay only if every one of them, and then every file, is in its place.
        with store.write() as connection:
            rows = _insert_tables(path, connection, tar, members)
            files = _extract(tar, members, folders)
    return Contents(rows, files, path.stat().st_size, created_at)


def _checked_members(path: Path, tar: tarfile.TarFile, folders: dict[str, Path]) -> dict[str, tarfile.TarInfo]:
    """Name → member, all of them plain files at places where we write files."""
    allowed = {"tables", *folders}
    members: dict[str, tarfile.TarInfo] = {}
    for count, member in enumerate(tar, start=1):
        parts = PurePosixPath(member.name).parts
        plain = member.isreg() and not member.issparse()
        inside = member.name == MANIFEST or (len(parts) > 1 and parts[0] in allowed)
        unsafe = ".." in parts or "\\" in member.name or "\0" in member.name or member.name != "/".join(parts)
        if not plain or not inside or unsafe or member.name in members or count > MAX_MEMBERS:
            raise BadInputError(
                f"{path}: member {count}, {member.name[:100]!r}, is nothing that a backup holds; it is not restored"
            )
        members[member.name] = member
    return members


def _manifest(path: Path, tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> dict[str, Any]:
    if MANIFEST not in members:
        raise BadInputError(f"{path}: there is no {MANIFEST} in it; was it cut off?")
    with refusing(BadInputError, f"{path}: its {MANIFEST} cannot be read"):
        manifest = json.loads(_content(tar, members[MANIFEST]).read())
        known = manifest["format"] == FORMAT and set(manifest["sha256"]) == members.keys() - {MANIFEST}
    missing = [table.name for table in _TABLES if f"tables/{table.name}.jsonl" not in members]
    if not known or missing:
        raise BadInputError(f"{path}: its manifest does not list what it holds, or it is of another format than {FORMAT}")
    return dict(manifest)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content is not None  # only plain files come this far
    return content


def _verify(path: Path, tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], sums: dict[str, str]) -> None:
    for name, wanted in sums.items():
        reader = _Hashing(_content(tar, members[name]))
        while reader.read(_CHUNK):
            pass
        if reader.digest.hexdigest() != wanted:
            raise BadInputError(f"{path}: {name} is damaged; its checksum is not the one in the manifest")


def _extract(tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], folders: dict[str, Path]) -> int:
    """Put every file in its place; when one cannot be, those that were not there before are gone again."""
    count, new = 0, []
    try:
        for name, member in members.items():
            top, *rest = PurePosixPath(name).parts
            if top in folders:
                target = folders[top].joinpath(*rest)
                new += [] if target.exists() else [target]
                write_atomically(target, _content(tar, member).read())
                count += 1
    except BaseException:
        for target in new:
            target.unlink(missing_ok=True)
        raise
    return count


def _insert_tables(path: Path, connection: Connection, tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> int:
    count = 0
    for table in _TABLES:
        with refusing(BadInputError, f"{path}: tables/{table.name}.jsonl holds rows that no backup of ours holds"):
            for batch in _batches(path, table, _content(tar, members[f"tables/{table.name}.jsonl"])):
                connection.execute(table.insert(), batch)
                count += len(batch)
            if connection.dialect.name == "postgresql" and "id" in table.c:
                # Rows came with their numbers; the next new row must get a later one.
                connection.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), COALESCE(max(id), 1), max(id) IS NOT NULL) "
                    f"FROM {table.name}"
                )
    return count


def _fits(column: Column[Any], value: object) -> bool:
    """SQLite would take a text for a number."""
    if value is None:
        return bool(column.nullable)
    if isinstance(column.type, JSON):
        return True
    if isinstance(column.type, Boolean):
        return isinstance(value, bool)
    if isinstance(column.type, Integer):
        return type(value) is int and abs(value) < 2**63
    if isinstance(column.type, Float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str) and "\0" not in value


def _batches(path: Path, table: Table, lines: IO[bytes]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        row = json.loads(line)
        if not isinstance(row, dict) or row.keys() != set(table.c.keys()):
            raise BadInputError(f"{path}: tables/{table.name}.jsonl:{number}: the columns are not those of this version")
        wrong = next((column.name for column in table.c if not _fits(column, row[column.name])), None)
        if wrong is not None:
            raise BadInputError(f"{path}: tables/{table.name}.jsonl:{number}: {wrong} cannot be {text_of(row[wrong])}")
        batch.append(row)
        if len(batch) == _ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
