"""``parallax backup`` and ``parallax restore``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select
from typer.testing import Result

from ml_backend.store.database import open_store
from ml_backend.store.schema import heartbeats
from ml_backend.store.workspace import Workspace
from tests.ml_backend.store.test_archive import files, fill, tables
from tests.small_project import write_spec

Run = Callable[..., Result]


def test_backup_and_restore_by_command(run: Run, workspace: Workspace, tmp_path: Path) -> None:
    fill(workspace)
    before = tables(workspace.store)
    assert run("backup", str(tmp_path / "b.tar")).exit_code == 0
    other = tmp_path / "other"
    other.mkdir()
    write_spec(other)
    result = run("-c", str(other / "parallax.yaml"), "restore", str(tmp_path / "b.tar"))
    assert result.exit_code == 0, result.output
    restored = open_store(f"sqlite:///{other}/project.sqlite3")
    assert tables(restored) == before
    with restored.read() as connection:
        assert connection.execute(select(heartbeats)).all() == []
    restored.close()
    arrays, models = other / ".parallax/arrays", other / ".parallax/models"
    assert files(arrays) == {name: data for name, data in files(workspace.arrays.folder).items() if ".half" not in name}
    assert files(models) == files(workspace.models)
    again = run("backup", str(tmp_path / "b.tar"))
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    twice = run("-c", str(other / "parallax.yaml"), "restore", str(tmp_path / "b.tar"))
    assert twice.exit_code == 1
    assert "not empty" in twice.stderr
