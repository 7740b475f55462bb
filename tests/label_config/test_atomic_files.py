"""A reader sees the old file or the new one, whatever interrupts a write."""

from __future__ import annotations

from pathlib import Path

import pytest

from label_config.values.atomic_files import replacing, write_atomically


def test_a_block_that_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "file.json"
    write_atomically(target, b"old")
    with pytest.raises(FileNotFoundError), replacing(target) as temporary:
        temporary.write_bytes((tmp_path / "nothing").read_bytes())
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


def test_the_content_is_complete_before_the_rename(tmp_path: Path) -> None:
    target, states = tmp_path / "file", []
    write_atomically(target, b"old")
    with replacing(target, before_rename=lambda: states.append(target.read_bytes())) as temporary:
        temporary.write_bytes(b"new")
    assert [*states, target.read_bytes()] == [b"old", b"new"]


@pytest.mark.parametrize("durable", [True, False])
def test_file_and_folder_are_flushed_only_where_asked(durable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr("label_config.values.atomic_files.os.fsync", flushed.append)
    write_atomically(tmp_path / "file", b"data", durable=durable)
    assert len(flushed) == 2 * durable
