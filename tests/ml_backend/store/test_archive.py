"""Backups: the same on SQLite and PostgreSQL, complete or refused, and never a way out of the folders."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from label_config.values import BadInputError, FrameKey, ImageRef, ParallaxError
from ml_backend.store import frames, ledger, presence, projects, work
from ml_backend.store.archive import MANIFEST, read_archive, write_archive
from ml_backend.store.database import Store, open_store
from ml_backend.store.schema import metadata
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace
from tests.small_project import make_project


def tables(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Everything in the store, without who is alive."""
    with store.read() as connection:
        return {
            table.name: [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in metadata.sorted_tables
            if table.name not in ("leases", "heartbeats")
        }


def fill(workspace: Workspace) -> None:
    """Something in the tables and folders that a restore could lose: text, numbers, nulls, bytes."""
    store, project = workspace.store, workspace.store.project_id
    ledger.record(store.of_project(project), "project_field", "sampling", old=None, new="Uncertainty sampling")
    presence.tell(store.of_project(project), 'ü "quoted" \\ line\nbreak', level=EventLevel.WARNING, key="k")
    presence.beat(store, "sync")
    job = work.claim(store.of_project(project), work.request(store.of_project(project), "retrain").id, "w")
    assert job is not None
    work.heartbeat(store, job, {"loss": 0.1, "step": 3})
    workspace.arrays.save("shards/1", {"xy": np.arange(6.0)})
    (workspace.arrays.folder / "shards" / ".half.part").write_bytes(b"half")
    model = workspace.models / "m-1"
    model.mkdir(parents=True)
    (model / "weights.safetensors").write_bytes(bytes(range(256)) * 1000)


def folders(base: Path) -> dict[str, Path]:
    return {"arrays": base / "arrays", "models": base / "models"}


def files(base: Path) -> dict[str, bytes]:
    return {str(file.relative_to(base)): file.read_bytes() for file in base.rglob("*") if file.is_file()}


@pytest.fixture
def archive(workspace: Workspace, tmp_path: Path) -> Path:
    fill(workspace)
    where = {"arrays": workspace.arrays.folder, "models": workspace.models}
    write_archive(workspace.store, where, tmp_path / "b.tar")
    return tmp_path / "b.tar"


def test_an_archive_of_one_database_fills_the_other(store: Store, archive: Path, workspace: Workspace, tmp_path: Path) -> None:
    """``store`` is SQLite and PostgreSQL in turn; the archive comes from SQLite."""
    contents = read_archive(archive, store, folders(tmp_path / "x"))
    assert tables(store) == tables(workspace.store)
    assert (contents.rows, contents.files) == (sum(map(len, tables(store).values())), 2)
    # New rows get numbers behind the restored ones.
    project = projects.list_all(store)[0].id
    highest = max(row["id"] for row in tables(store)["frames"])
    frames.add_frames(store.of_project(project), [(FrameKey("t", 0), {"a": ImageRef("a.mp4", 0)}, "train")])
    assert frames.ids_by_key(store.of_project(project))[FrameKey("t", 0)] > highest
    write_archive(store, folders(tmp_path / "x"), tmp_path / "second.tar")
    back = open_store(f"sqlite:///{tmp_path}/back.sqlite3")
    read_archive(tmp_path / "second.tar", back, folders(tmp_path / "y"))
    assert tables(back) == tables(store)
    back.close()


@pytest.fixture
def empty(tmp_path: Path) -> Any:
    opened = open_store(f"sqlite:///{tmp_path}/empty.sqlite3")
    yield opened
    opened.close()


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with its members changed as a mapping."""
    with tarfile.open(archive) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    change(members)
    target = archive.with_name("changed.tar")
    with tarfile.open(target, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target


def flip(members: dict[str, bytes]) -> None:
    data = bytearray(members["models/m-1/weights.safetensors"])
    data[1000] ^= 1
    members["models/m-1/weights.safetensors"] = bytes(data)


def newer(members: dict[str, bytes]) -> None:
    members[MANIFEST] = json.dumps({**json.loads(members[MANIFEST]), "schema": "9999"}).encode()


def other_format(members: dict[str, bytes]) -> None:
    members[MANIFEST] = json.dumps({**json.loads(members[MANIFEST]), "format": 99}).encode()


DAMAGE: dict[str, tuple[Callable[[dict[str, bytes]], Any], str]] = {
    "a flipped bit": (flip, "damaged"),
    "a file too many": (lambda members: members.update({"arrays/x.npz": b"1"}), "does not list"),
    "a file missing": (lambda members: members.pop("models/m-1/weights.safetensors"), "does not list"),
    "a table missing": (lambda members: members.pop("tables/frames.jsonl"), "does not list"),
    "no manifest": (lambda members: members.pop(MANIFEST), "cut off"),
    "a manifest that is no JSON": (lambda members: members.update({MANIFEST: b"{"}), "cannot be read"),
    "a manifest that is a list": (lambda members: members.update({MANIFEST: b"[]"}), "cannot be read"),
    "another schema": (newer, "revision 9999"),
    "another format": (other_format, "another format"),
    "a way up": (lambda members: members.update({"models/../../evil": b"1"}), "nothing that a backup holds"),
    "an absolute path": (lambda members: members.update({"/tmp/evil": b"1"}), "nothing that a backup holds"),
    "another folder": (lambda members: members.update({"home/evil": b"1"}), "nothing that a backup holds"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_archive_changes_nothing(archive: Path, empty: Store, tmp_path: Path, name: str) -> None:
    change, words = DAMAGE[name]
    with pytest.raises(BadInputError, match=words):
        read_archive(rewritten(archive, change), empty, folders(tmp_path / "x"))
    assert not (tmp_path / "x").exists()
    assert projects.list_all(empty) == []


def special(kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo("models/evil")
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "member",
    [special(tarfile.SYMTYPE, "/etc/passwd"), special(tarfile.LNKTYPE, "x"), special(tarfile.FIFOTYPE), special(tarfile.DIRTYPE)],
    ids=["symlink", "hard link", "fifo", "folder"],
)
def test_only_plain_files_are_restored(archive: Path, empty: Store, tmp_path: Path, member: tarfile.TarInfo) -> None:
    with tarfile.open(archive, "a") as tar:
        tar.addfile(replace_name(member))
    with pytest.raises(BadInputError, match="nothing that a backup holds"):
        read_archive(archive, empty, folders(tmp_path / "x"))


def replace_name(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A copy: tarfile writes offsets into what it is given."""
    return member.replace(name="models/evil")


def test_a_compressed_bomb_is_not_even_opened(archive: Path, empty: Store, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.tar.gz"
    with tarfile.open(bomb, "w:gz") as tar:
        info = tarfile.TarInfo("arrays/zeros")
        info.size = 2**24
        tar.addfile(info, io.BytesIO(bytes(2**24)))
    with pytest.raises(BadInputError, match="expected a backup"):
        read_archive(bomb, empty, folders(tmp_path / "x"))


def test_too_many_members(archive: Path, empty: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_backend.store.archive.MAX_MEMBERS", 5)
    with pytest.raises(BadInputError, match="member 6"):
        read_archive(archive, empty, folders(tmp_path / "x"))


@pytest.mark.parametrize("keep", [0, 100, 5000, -1030])
def test_a_file_that_was_cut_off(archive: Path, empty: Store, tmp_path: Path, keep: int) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(archive.read_bytes()[:keep] if keep >= 0 else archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(BadInputError, match=r"cut\.tar"):
        read_archive(cut, empty, folders(tmp_path / "x"))
    assert projects.list_all(empty) == []


def test_rows_of_another_shape_leave_the_store_empty(archive: Path, empty: Store, tmp_path: Path) -> None:
    import hashlib

    def change(members: dict[str, bytes]) -> None:
        line = json.dumps({"id": 1, "stranger": 2}).encode() + b"\n"
        members["tables/events.jsonl"] = line
        manifest = json.loads(members[MANIFEST])
        manifest["sha256"]["tables/events.jsonl"] = hashlib.sha256(line).hexdigest()
        members[MANIFEST] = json.dumps(manifest).encode()

    with pytest.raises(BadInputError, match=r"events\.jsonl:1"):
        read_archive(rewritten(archive, change), empty, folders(tmp_path / "x"))
    assert projects.list_all(empty) == []


def with_rows(table: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, bytes]], None]:
    """Change the first row of a table, and the checksum with it: as somebody does who means it."""
    import hashlib

    def rewrite(members: dict[str, bytes]) -> None:
        name = f"tables/{table}.jsonl"
        first, *others = members[name].splitlines(keepends=True)
        row = json.loads(first)
        change(row)
        members[name] = b"".join([json.dumps(row).encode() + b"\n", *others])
        manifest = json.loads(members[MANIFEST])
        manifest["sha256"][name] = hashlib.sha256(members[name]).hexdigest()
        members[MANIFEST] = json.dumps(manifest).encode()

    return rewrite


BAD_ROWS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "a text for a number": ("frames", lambda row: row.update(id="x")),
    "a number for a text": ("projects", lambda row: row.update(ls_url=7)),
    "nothing where something must be": ("projects", lambda row: row.update(ls_url=None)),
    "a number beyond every database": ("frames", lambda row: row.update(id=10**30)),
    "a number that is no truth value": ("projects", lambda row: row.update(pinned=1)),
    "a list for a number": ("frames", lambda row: row.update(id=[1])),
    "a project that is not there": ("frames", lambda row: row.update(project_id=999)),
    "the same number twice": ("frames", lambda row: row.update(id=row["id"] + 1)),
    "half a character": ("projects", lambda row: row.update(title="\ud800")),
    "a zero byte": ("projects", lambda row: row.update(title="a\0b")),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_rows_that_somebody_made_up_change_nothing(archive: Path, store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInputError, match=rf"tables/{BAD_ROWS[name][0]}\.jsonl"):
        read_archive(rewritten(archive, with_rows(*BAD_ROWS[name])), store, folders(tmp_path / "x"))
    assert not (tmp_path / "x").exists()
    assert projects.list_all(store) == []


def test_a_file_that_cannot_be_written_takes_the_rows_back(archive: Path, empty: Store, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "models").write_text("a file where a folder has to be")
    with pytest.raises(BadInputError, match="expected a backup"):
        read_archive(archive, empty, folders(tmp_path / "x"))
    assert projects.list_all(empty) == []
    assert list((tmp_path / "x").rglob("*.npz")) == []


def test_a_failed_backup_leaves_no_file(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ml_backend.store.archive._add_folder", full)
    with pytest.raises(OSError, match="No space"):
        write_archive(workspace.store, {"arrays": workspace.arrays.folder}, tmp_path / "target" / ".." / "b.tar")
    assert [file.name for file in tmp_path.iterdir() if "tar" in file.name or file.name.endswith(".part")] == []


def test_a_store_with_a_project_is_refused(archive: Path, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = make_project(tmp_path / "second")
    with pytest.raises(ParallaxError, match="not empty"):
        read_archive(archive, second.store, folders(tmp_path / "x"))
    second.store.close()
    assert replace(second.project, ls_url="") != workspace.project
