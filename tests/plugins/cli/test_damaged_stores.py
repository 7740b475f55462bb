"""A store that is lost, cut, damaged or somebody else's: commands say so, and none of them puts a new one in its place."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from ml_backend.store.workspace import Workspace
from tests.small_project import write_spec

Run = Callable[..., Result]
COMMANDS = [("status",), ("backup", "out.tar"), ("train",), ("rescore",), ("export", "coco", "out")]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("this is no database, but long enough to be looked at\n" * 100)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100 : len(content) // 2] = b"\xaa" * (len(content) // 2 - 100)
    path.write_bytes(bytes(content))


def of_somebody_else(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE invoices (number INTEGER)")
    connection.close()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (Path.unlink, "there is no database at"),
    (empty, "is empty, as after a full disk"),
    (text, "cannot be opened"),
    (cut, "cannot be opened"),
    (overwritten, "cannot be opened"),
    (of_somebody_else, "is a database of something else (tables invoices)"),
    (folder, "cannot be opened"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=lambda value: getattr(value, "__name__", None))
def test_every_command_says_what_is_wrong(
    workspace: Workspace, run: Run, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    store = tmp_path / "project.sqlite3"
    with sqlite3.connect(store) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    workspace.store.close()
    for journal in tmp_path.glob("project.sqlite3-*"):
        journal.unlink()
    damage(store)
    before = store.read_bytes() if store.is_file() else store.exists()
    for command in COMMANDS:
        result = run(*command)
        assert result.exit_code == 1, command
        assert isinstance(result.exception, SystemExit), (command, result.exception)
        assert words in result.stderr, (command, result.stderr)
        assert (store.read_bytes() if store.is_file() else store.exists()) == before, command
    assert not (tmp_path / "out.tar").exists()


def test_a_store_without_any_project_is_not_backed_up(run: Run, tmp_path: Path) -> None:
    from ml_backend.store.database import open_store

    open_store(f"sqlite:///{tmp_path / 'other.sqlite3'}").close()
    write_spec(tmp_path, store="sqlite:///other.sqlite3")
    result = run("backup", str(tmp_path / "out.tar"))
    assert (result.exit_code, "holds no project" in result.stderr) == (1, True)
