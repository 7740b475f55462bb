"""Who belongs to whom: the pairs of two sets that are worth most together, each member in one pair at most (Kuhn 1955)."""

from __future__ import annotations

from collections.abc import Iterator

from scipy.optimize import linear_sum_assignment

from label_config.values import FloatArray


def best_pairs(worth: FloatArray) -> Iterator[tuple[int, int]]:
    """Row and column of each pair for what a pair is worth (n, m), finite; as many pairs as the smaller set has members."""
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return zip(rows.tolist(), columns.tolist(), strict=True)
