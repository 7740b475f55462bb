"""What a child process makes of a file: its value, its own words, or what became of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.child_processes import limited_child
from ml_backend.child_processes.limited_child import read_limited

READERS = """
import ctypes, os, time
import numpy as np
from label_config.values import BadInputError

def good(path):
    print("a library talks")
    return {"size": path.stat().st_size, "names": ["a", "b"], "values": np.arange(6.0).reshape(2, 3)}

def whole(path):
    return {"size": len(path.read_bytes())}

def words(path):
    raise BadInputError("row 3 has no name")

def strange(path):
    return {}["nothing"]

def greedy(path):
    return {"values": np.ones(2**31)}

def needs_a_gigabyte(path):
    return {"size": np.empty(2**30, np.uint8).nbytes}

def crashes(path):
    ctypes.string_at(0)

def hangs(path):
    time.sleep(600)

def environment(path):
    return {"names": sorted(os.environ)}

def spins(path):
    while True:
        pass
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "readers_of_this_test.py").write_text(READERS)
    (tmp_path / "f.h5").write_bytes(b"12345")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return tmp_path / "f.h5"


def test_values_and_arrays_come_back(file: Path) -> None:
    found = read_limited("readers_of_this_test:good", file)
    assert (found["size"], found["names"]) == (5, ["a", "b"])
    np.testing.assert_array_equal(found["values"], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("words", r"f\.h5: row 3 has no name"),
        ("strange", r"f\.h5: cannot be read \('nothing'\)"),
        (
            "greedy",
            r"f\.h5: cannot be read in 512 MiB of memory; the file is damaged or huge \(PARALLAX_READER",
        ),
        ("crashes", r"f\.h5: cannot be read: the reader ended with status -11"),
    ],
)
def test_errors_name_the_file_and_cost_the_child_only(name: str, message: str, file: Path) -> None:
    with pytest.raises(BadInputError, match=message):
        read_limited(f"readers_of_this_test:{name}", file, memory_bytes=512 * 2**20)


def test_a_reader_that_hangs_is_ended(file: Path) -> None:
    with pytest.raises(BadInputError, match="still no end after 2 s"):
        read_limited("readers_of_this_test:hangs", file, seconds=2.0)


def test_a_reader_that_works_without_end_is_ended_sooner(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_child, "CPU_S", 0.5)
    with pytest.raises(BadInputError, match=r"f\.h5: cannot be read: still no end after 1 s of work"):
        read_limited("readers_of_this_test:spins", file)


def test_a_user_raises_the_limits(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = "readers_of_this_test:needs_a_gigabyte"
    with pytest.raises(BadInputError, match=r"cannot be read in 512 MiB of memory.*PARALLAX_READER_LIMITS=2 "):
        read_limited(reader, file, memory_bytes=512 * 2**20)
    monkeypatch.setenv("PARALLAX_READER_LIMITS", "4")
    assert read_limited(reader, file, memory_bytes=512 * 2**20)["size"] == 2**30
    monkeypatch.setenv("PARALLAX_READER_LIMITS", "none")
    with pytest.raises(BadInputError, match="PARALLAX_READER_LIMITS in the environment: expected a number from 1 to 1000"):
        read_limited(reader, file)


def test_a_large_file_may_take_longer_and_more(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_child, "CPU_S", 0.0)
    with file.open("wb") as large:
        large.truncate(300 * 2**20)
    found = read_limited("readers_of_this_test:whole", file, memory_bytes=0)
    assert found["size"] == 300 * 2**20


READERS_OF_OURS = [
    "ml_backend.child_processes.mat_file",
    "ml_backend.formats.dlc_h5",
    "ml_backend.formats.sleap_file",
    "ml_backend.formats.movement_file",
]


@pytest.mark.parametrize("reader", READERS_OF_OURS)
def test_a_child_starts_with_what_its_reader_needs(reader: str) -> None:
    """Every file starts one: rooms that read pictures and settings cost a second of work each time."""
    program = f"import sys, ml_backend.child_processes.limited_child, {reader}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith(("ml_backend.", "label_config."))}
    expected = {"label_config.values", "label_config.values.errors", "ml_backend.child_processes", reader}
    expected |= {f"ml_backend.child_processes.{name}" for name in ("limited_child", "memory_limit", "child_environment")}
    assert ours - {"ml_backend.formats"} == expected


def test_a_child_knows_no_secrets(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LABEL_STUDIO_API_KEY", "PARALLAX_SECRET", "PARALLAX_REDIS_URL", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("LANG", "C.UTF-8")
    names = read_limited("readers_of_this_test:environment", file)["names"]
    assert {"LANG", "PATH", "OMP_NUM_THREADS"} <= set(names)
    assert not [name for name in names if name.startswith(("PARALLAX", "LABEL", "PG", "AWS"))]
