from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from label_config.values import BadInputError, FloatArray, FrameKey
from ml_backend.acquisition.feature_spaces import FeatureSet
from ml_backend.acquisition.fusion import Component, fuse
from ml_backend.acquisition.large_pools import ShardedRows
from ml_backend.acquisition.order_window import Params, Strategy
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.selection import select


def write(folder: Path, array: npt.NDArray[Any], sizes: list[int]) -> list[Path]:
    paths = []
    for number, part in enumerate(np.split(array, np.cumsum(sizes)[:-1])):
        paths.append(folder / f"{number:03d}.npy")
        np.save(paths[-1], part)
    return paths


def test_rows_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
    rows = ShardedRows.open(write(tmp_path, array, [10, 0, 25, 15]))
    assert rows.shape == array.shape
    asked = np.array([49, 0, 10, 9, 34, 35, 10])
    assert (rows[asked] == array[asked]).all()
    assert rows[asked].dtype == np.float32
    assert rows[np.zeros(0, dtype=int)].shape == (0, 3, 2)
    for wrong in ([50], [-1]):
        with pytest.raises(BadInputError, match=r"0\.\.49"):
            rows[np.array(wrong)]


@pytest.mark.parametrize("strategy", list(Strategy))
def test_streamed_order_is_the_order_in_memory(tmp_path: Path, strategy: Strategy) -> None:
    n, rng = 20_000, np.random.default_rng(1)
    pool = Pool.from_keys([FrameKey("a", i) for i in range(n)])
    scores = rng.random((3, n))
    scores[rng.random((3, n)) < 0.3] = np.nan
    x = rng.normal(size=(n, 12)).astype(np.float32)
    params = Params(window=200, batch=60, shortlist=3000, strategy=strategy, performance=0.5)
    labelled = rng.normal(size=(20, 12)).astype(np.float32)

    def ordered(columns: list[FloatArray], rows: object) -> list[tuple[int, float]]:
        fused = fuse([Component(str(i), column) for i, column in enumerate(columns)], n)
        features = FeatureSet(rows, labelled=labelled)  # type: ignore[arg-type]
        return [(pick.position, pick.score) for pick in select(pool, fused, params, features=features).picks]

    paths = write(tmp_path, x, [7000, 1, 12_999])
    assert ordered(list(scores), ShardedRows.open(paths)) == ordered(list(scores), x)


def test_damaged_and_ill_shaped_shards_are_named(tmp_path: Path) -> None:
    paths = write(tmp_path, np.zeros((4, 2)), [2, 2])
    np.save(paths[1], np.zeros((2, 3)))
    with pytest.raises(BadInputError, match="one shape"):
        ShardedRows.open(paths)
    paths[1].write_bytes(b"not an array")
    with pytest.raises(BadInputError, match=r"001\.npy"):
        ShardedRows.open(paths)
    with pytest.raises(BadInputError, match=r"002\.npy"):
        ShardedRows.open([tmp_path / "002.npy"])
    assert ShardedRows([]).shape == (0,)
