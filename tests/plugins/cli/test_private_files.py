"""What Parallax keeps for itself is closed to other users, also where it stood open before."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from label_config.settings.spec import load_spec
from label_config.values.private_files import STATE, close_to_others
from ml_backend.recordings.cache import PictureCache
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from plugins.cli.processes.supervisor import Child, Supervisor
from plugins.cli.secrets import ensure_secret
from tests.small_project import write_spec

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """Nobody's umask helps."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


def test_every_writer_makes_private_folders_and_files(tmp_path: Path) -> None:
    state = tmp_path / STATE
    spec = load_spec(write_spec(tmp_path, store=f"sqlite:///{STATE}/parallax.sqlite3"))
    ensure_secret(spec)
    store = open_store(spec.store)
    ArrayStore(Path(spec.arrays)).save("shards/1", {"xy": np.arange(3)})
    PictureCache(spec.cache.folder, 10**6).put("http://h/a", b"pixels")
    done = threading.Event()
    supervisor = Supervisor([Child("child", [sys.executable, "-c", ""])], state / "logs", lambda line: done.set())
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    done.wait(60)
    supervisor.stop.set()
    thread.join()
    found = modes(state)
    store.close()
    assert {"secret", "parallax.sqlite3", "parallax.sqlite3-wal", "logs/child.log"} <= found.keys()
    folders = {name for name in found if (state / name).is_dir()}
    assert {found[name] for name in folders} == {0o700}
    assert {mode for name, mode in found.items() if name not in folders} == {0o600}


def test_what_stood_open_is_closed_by_the_next_command(run: Run, tmp_path: Path) -> None:
    write_spec(tmp_path)
    state = tmp_path / STATE
    state.mkdir(mode=0o777)
    (state / "secret").write_text("s" * 40)
    (state / "secret").chmod(0o666)
    (state / "link").symlink_to(tmp_path / "parallax.yaml")
    run("status")
    found = modes(state)
    assert not any(mode & 0o007 for name, mode in found.items() if name != "link")
    assert stat.S_IMODE((tmp_path / "parallax.yaml").stat().st_mode) == 0o666


def test_a_group_other_than_roots_is_shut_out(tmp_path: Path) -> None:
    state = tmp_path / STATE
    state.mkdir(mode=0o777)
    (state / "parallax.sqlite3").touch(0o666)
    if_root = 12345 if os.geteuid() == 0 else os.getegid()
    for path in (state, state / "parallax.sqlite3"):
        os.chown(path, -1, if_root)
    assert close_to_others(state) == []
    assert modes(state) == {".": 0o700, "parallax.sqlite3": 0o600}
