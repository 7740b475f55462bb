"""Batches made ready by other threads while the device computes."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from ml_backend.pose.dataset import Batch, CropDataset

_WORKERS = 8
_AHEAD = 16


class Prefetcher:
    """Hands out batches in order; with ``parallel`` the next ones are already being made.

    A batch depends on its number alone, so which thread makes it, and when, changes nothing.
    """

    def __init__(self, data: CropDataset, parallel: bool, processes: int = 1) -> None:
        """``processes`` that train together take turns: this one's next batch comes after those of the others."""
        self._data, self._processes = data, processes
        self._pool = ThreadPoolExecutor(_WORKERS) if parallel else None
        self._ahead: deque[tuple[int, int, Future[Batch]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def get(self, first_draw: int, count: int) -> Batch:
        """Training crops number ``first_draw`` … ``first_draw + count − 1``."""
        if self._pool is None:
            return self._data.batch(first_draw, count)
        if self._ahead and self._ahead[0][:2] != (first_draw, count):  # the batch size changed
            self._ahead.clear()
        following = self._ahead[-1][0] + count * self._processes if self._ahead else first_draw
        while len(self._ahead) < _AHEAD:
            self._ahead.append((following, count, self._pool.submit(self._data.batch, following, count)))
            following += count * self._processes
        return self._ahead.popleft()[2].result()
