import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, FrameKey
from label_config.values.file_names import safe_join
from ml_backend.recordings.cache import PictureCache
from ml_backend.recordings.paths import frame_path


def _files(cache: Any) -> Any:
    return [path for path in cache.folder.rglob("*") if path.is_file()]


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "c", 10**6)
    assert cache.get("http://a/1") is None
    cache.put("http://a/1", b"one")
    cache.put("http://a/2", b"")
    assert cache.get("http://a/1") == b"one"
    assert cache.get("http://a/2") == b""
    assert PictureCache(tmp_path / "c", 10**6).get("http://a/1") == b"one"
    cache.put("http://a/1", b"new")
    assert cache.get("http://a/1") == b"new"
    cache.remove("http://a/1")
    assert cache.get("http://a/1") is None


def test_the_whole_sha256_of_the_address_is_the_key(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, 10**6)
    cache.put("http://a/../../etc/passwd", b"x")
    assert [path.name for path in _files(cache)] == [hashlib.sha256(b"http://a/../../etc/passwd").hexdigest()]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"", lambda b: b[:-1] + b"?", lambda b: bytes(len(b))]
)
def test_damaged_or_exchanged_files_are_dropped(tmp_path: Path, damage: Any) -> None:
    cache = PictureCache(tmp_path, 10**6)
    cache.put("u", b"some picture")
    (path,) = _files(cache)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("u") is None
    assert _files(cache) == []


def test_a_link_in_the_cache_is_not_followed(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "c", 10**6)
    cache.put("u", b"some picture")
    (path,) = _files(cache)
    outside = tmp_path / "outside"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)
    assert cache.get("u") is None
    assert outside.exists()


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, max_bytes=10 * (1000 + 32))
    for i in range(10):
        cache.put(f"u{i}", bytes(1000))
        path = cache._path(f"u{i}")
        os.utime(path, (i, i))
    assert cache.get("u0") is not None  # now the most recent one
    cache.put("u10", bytes(1000))
    held = [i for i in range(11) if cache._path(f"u{i}").exists()]
    assert held == [0, 3, 4, 5, 6, 7, 8, 9, 10]  # down to nine tenths of the limit
    assert sum(path.stat().st_size for path in _files(cache)) <= 0.9 * cache.max_bytes


def test_a_full_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PictureCache(tmp_path, 10**6)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    cache.put("u", b"x")
    assert _files(cache) == []


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    values = [bytes([i]) * 200_000 for i in range(4)]
    seen, stop = set(), threading.Event()

    def read() -> None:
        cache = PictureCache(tmp_path, 10**8)
        while not stop.is_set():
            value = cache.get("u")
            if value is not None:
                seen.add(value)

    reader = threading.Thread(target=read)
    writer = PictureCache(tmp_path, 10**8)
    writer.put("u", values[0])
    reader.start()
    for _ in range(10):
        for value in values:
            writer.put("u", value)
            assert writer.get("u") == value
    stop.set()
    reader.join()
    assert seen <= set(values)
    assert seen


def test_safe_join_inside(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert safe_join(tmp_path, "in/a.jpg") == (tmp_path / "in" / "a.jpg").resolve()
    assert safe_join(tmp_path, "link/a.jpg") == (tmp_path / "in" / "a.jpg").resolve()
    assert safe_join(tmp_path, "100% new.jpg").name == "100% new.jpg"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "..",
        "../a",
        "a/../../b",
        "a/..",
        "/etc/passwd",
        "%2e%2e/a",
        "a/%2E%2e/b",
        "%252e%252e/a",
        "%2fetc/passwd",
        "..\\a",
        "a\0b",
        "a%00b",
        "//etc",
    ],
)
def test_safe_join_refuses(tmp_path: Path, path: Any) -> None:
    with pytest.raises(BadInputError, match="expected a path inside"):
        safe_join(tmp_path, path)


def test_safe_join_refuses_links_that_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "file").symlink_to("/etc/passwd")
    for path in ("out/x", "file"):
        with pytest.raises(BadInputError, match="link leads out"):
            safe_join(root, path)


def test_frame_path(tmp_path: Path) -> None:
    assert frame_path(tmp_path, FrameKey("trial 1", 412), "camA") == tmp_path.resolve() / "trial 1" / "camA" / "000412.jpg"
    for sequence, view in (("..", "a"), ("a/b", "a"), ("a", ".."), ("", "a"), ("a", "/"), ("a\0", "b")):
        with pytest.raises(BadInputError):
            frame_path(tmp_path, FrameKey(sequence, 1), view)


def test_counts_what_other_processes_wrote(tmp_path: Path) -> None:
    first, second = PictureCache(tmp_path, 5000), PictureCache(tmp_path, 5000)
    first.put("a", bytes(3000))
    second.put("b", bytes(3000))
    assert sum(path.stat().st_size for path in _files(first)) <= 5000
    assert np.count_nonzero([first.get("a") is not None, first.get("b") is not None]) == 1
