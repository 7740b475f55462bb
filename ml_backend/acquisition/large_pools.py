"""Pools larger than memory: features stay in shards on disk, of which only the short list is read.

Fusing needs the scalars of the whole pool (a million frames with ten scores are 80 MB), so percentiles are exact.  The
diverse order then reads the features of at most ``Params.shortlist`` frames, shard by shard.  ``select`` runs the same
code on a ``ShardedRows`` as on an array, so the order is the same by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import BadInputError, IntArray
from label_config.values.refusing import refusing

Loader = Callable[[], npt.NDArray[Any]]


class ShardedRows:
    """The rows of several arrays one after another, read by position (``spaces.Rows``).

    Every read opens a shard, copies what it needs and lets go of it: a map that stays open would keep its pages in memory.
    """

    def __init__(self, shards: Sequence[tuple[tuple[int, ...], Loader]]) -> None:
        """``shards``: (shape, loader) of each; shapes agree but for the first axis."""
        trailing = {shape[1:] for shape, _ in shards}
        if len(trailing) > 1:
            raise BadInputError(f"shards: rows must have one shape, got {', '.join(map(str, sorted(trailing)))}")
        self._loaders = [loader for _, loader in shards]
        self._starts = np.cumsum([0, *(shape[0] for shape, _ in shards)])
        self._trailing = trailing.pop() if trailing else ()

    @classmethod
    def open(cls, paths: Iterable[Path]) -> ShardedRows:
        """From ``.npy`` files.  Raises BadInputError naming the file that cannot be read."""
        return cls([(_map(path).shape, partial(_map, path)) for path in paths])

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...)."""
        return (int(self._starts[-1]), *self._trailing)

    def __getitem__(self, positions: IntArray) -> npt.NDArray[Any]:
        """(len(positions), ...) a copy of these rows, in the order asked for."""
        positions = np.asarray(positions, dtype=np.int64)
        if len(positions) and not (positions.min() >= 0 and positions.max() < len(self)):
            raise BadInputError(f"shards: expected positions in 0..{len(self) - 1}, got {positions.min()}..{positions.max()}")
        shard = np.searchsorted(self._starts, positions, side="right") - 1
        result: npt.NDArray[Any] | None = None
        for number in np.unique(shard):
            mine = np.flatnonzero(shard == number)
            rows = self._loaders[number]()[positions[mine] - self._starts[number]]
            if result is None:
                result = np.empty((len(positions), *self._trailing), dtype=rows.dtype)
            result[mine] = rows
        return np.empty((0, *self._trailing), dtype=np.float32) if result is None else result

    def __len__(self) -> int:
        return int(self._starts[-1])


def _map(path: Path) -> npt.NDArray[Any]:
    with refusing(BadInputError, f"shard {path}: cannot be read; score the frames again"):
        mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped
