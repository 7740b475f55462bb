"""Settings that people wrote are changed in one place and otherwise stay as they are."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from label_config.values import BadInputError
from plugins.cli.settings_file import set_in_yaml

LONG = "long: " + "word " * 60
#: What stood there → a line that must be there afterwards.
FILES = {
    "a section without a number": ("label_studio:\n  url: http://x  # ours\nstore: sqlite:///s\n", "  project: 3"),
    "another number with a remark": ("label_studio:\n    project: 9  # mice\n    url: http://x\n", "    project: 3  # mice"),
    "no section": ("store: sqlite:///s\n", "  project: 3"),
    "an empty section": ("label_studio:\nstore: sqlite:///s\n", "  project: 3"),
    "an empty section with a remark": ("label_studio:  # ours\nstore: sqlite:///s\n", "  project: 3"),
    "an empty file": ("", "  project: 3"),
    "remarks alone": ("# ours\n", "  project: 3"),
    "one line in braces": (
        "# mice\nlabel_studio: {url: 'http://x'}\nviews: [a, b]\n",
        "label_studio: {url: 'http://x', project: 3}",
    ),
    "lists that are not indented": ("label_studio:\n  url: http://x\nrecordings:\n- sequence: a\n", "  project: 3"),
    "lists that are": (
        "recordings:\n  - sequence: a\n  #\n  - sequence: b\nlabel_studio:\n  url: http://x\n",
        "  project: 3",
    ),
    "four spaces": ("skeleton:\n    limbs:\n        - [a, b]\nlabel_studio:\n    url: http://x\n", "    project: 3"),
    "old spellings": (
        "label_studio:\n  url: x\ntrain: {auto: yes, lr: 4e-3, seed: 1_000, a: 'no'}\n",
        "  project: 3",
    ),
    "a long line": (f"{LONG.strip()}\nlabel_studio:\n  url: x\n", "  project: 3"),
}


@pytest.mark.parametrize("name", FILES)
def test_one_value_is_set_and_nothing_else_is_touched(tmp_path: Path, name: str) -> None:
    before, line = FILES[name]
    path = tmp_path / "parallax.yaml"
    path.write_text(before)
    path.chmod(0o640)
    set_in_yaml(path, "label_studio", "project", 3)
    after = path.read_text().splitlines()
    assert line in after
    wanted = yaml.safe_load(before) or {}
    wanted["label_studio"] = {**(wanted.get("label_studio") or {}), "project": 3}
    assert yaml.safe_load(path.read_text()) == wanted
    assert set(before.splitlines()) - {"    project: 9  # mice", "label_studio: {url: 'http://x'}"} <= set(after)
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


def test_line_ends_of_another_system_stay(tmp_path: Path) -> None:
    path = tmp_path / "parallax.yaml"
    path.write_bytes(b"label_studio:\r\n  url: http://x  # ours\r\n")
    set_in_yaml(path, "label_studio", "project", 3)
    assert path.read_bytes() == b"label_studio:\r\n  url: http://x  # ours\r\n  project: 3\r\n"


def test_what_would_change_other_settings_is_left_to_the_user(tmp_path: Path) -> None:
    path = tmp_path / "parallax.yaml"
    text = "label_studio: &same\n  url: http://x\nbackend: *same\n"
    path.write_text(text)
    with pytest.raises(BadInputError, match="write `project: 3` into label_studio yourself"):
        set_in_yaml(path, "label_studio", "project", 3)
    assert path.read_text() == text


def test_a_full_disk_leaves_the_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "parallax.yaml"
    path.write_text("label_studio:\n  url: http://x\n")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(BadInputError, match=r"project: 3.*No space left"):
        set_in_yaml(path, "label_studio", "project", 3)
    assert path.read_text() == "label_studio:\n  url: http://x\n"
    assert list(tmp_path.iterdir()) == [path]


BEFORE, AFTER = "label_studio:\n  url: http://x  # ours\n", "label_studio:\n  url: http://x  # ours\n  project: 3\n"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A parallax.yaml that is a mount by itself, as ``docker run -v ./parallax.yaml:/project/parallax.yaml`` makes it."""
    outside, path = tmp_path / "outside.yaml", tmp_path / "inside" / "parallax.yaml"
    path.parent.mkdir()
    for file in (outside, path):
        file.write_text(BEFORE)
    done = subprocess.run(["mount", "--bind", str(outside), str(path)], capture_output=True)
    if done.returncode:
        pytest.skip(f"only root may mount a file: {done.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_file_that_is_mounted_into_a_container_is_written_in_place(mounted: Path, tmp_path: Path) -> None:
    set_in_yaml(mounted, "label_studio", "project", 3)
    assert (tmp_path / "outside.yaml").read_text() == AFTER
    assert list(mounted.parent.iterdir()) == [mounted]


def refuse(number: int) -> Callable[..., None]:
    def act(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return act


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_file_that_cannot_be_replaced_is_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    path = tmp_path / "parallax.yaml"
    path.write_text(BEFORE)
    monkeypatch.setattr(Path, "replace", refuse(number))
    set_in_yaml(path, "label_studio", "project", 3)
    assert path.read_text() == AFTER
    assert list(tmp_path.iterdir()) == [path]


def test_what_does_not_fit_in_place_leaves_the_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "parallax.yaml"
    path.write_text(BEFORE)
    monkeypatch.setattr(Path, "replace", refuse(errno.EBUSY))
    flush, calls = os.fsync, iter([None, refuse(errno.ENOSPC)])  # of the temporary file, of this one, of this one restored

    def full_at_last(descriptor: int) -> None:
        (next(calls, None) or flush)(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_last)
    with pytest.raises(BadInputError, match=r"project: 3.*No space left"):
        set_in_yaml(path, "label_studio", "project", 3)
    assert path.read_text() == BEFORE
