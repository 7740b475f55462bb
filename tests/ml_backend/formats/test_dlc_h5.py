"""DeepLabCut's HDF5 as pandas writes it, and files that would run something."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.formats.dlc import read_dlc


def pandas_table(path: Path, kind: bytes) -> None:
    """The layout of ``DataFrame.to_hdf(format="table")`` with one keypoint and one row."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        row = np.array([(b"labeled-data/v/img1.png", (1.5, 2.5))], dtype=[("index", "S30"), ("values_block_0", "<f8", (2,))])
        table = group.create_dataset("table", data=row)
        table.attrs["values_block_0_kind"] = np.void(kind)


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("open('/tmp/parallax-was-run', 'w')",)


def test_columns_are_read_from_plain_pickles(tmp_path: Path) -> None:
    pandas_table(tmp_path / "c.h5", pickle.dumps([("me", "nose", "x"), ("me", "nose", "y")], protocol=0))
    (label,) = read_dlc(tmp_path / "c.h5").labels
    assert label.image.source == "labeled-data/v/img1.png"
    assert label.xy_px.tolist() == [[1.5, 2.5]]
    assert label.people == ("me",)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    pandas_table(tmp_path / "c.h5", pickle.dumps(Runs(), protocol=0))
    with pytest.raises(BadInputError, match=r"c\.h5: the file names a program part .*exec.*, which is not run"):
        read_dlc(tmp_path / "c.h5")


def test_a_file_that_is_no_hdf5(tmp_path: Path) -> None:
    (tmp_path / "c.h5").write_bytes(b"nothing of the kind")
    with pytest.raises(BadInputError, match=r"c\.h5: cannot be read .*file signature not found"):
        read_dlc(tmp_path / "c.h5")
