"""The best partition against all partitions; what holds for every one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import FloatArray, IntArray
from ml_backend.geometry.partition import partition


def every_partition(group: IntArray) -> Iterator[list[int]]:
    """All ways to number the members, none with two members of a group in one cluster."""

    def place(numbers: list[int]) -> Iterator[list[int]]:
        if len(numbers) == len(group):
            yield list(numbers)
            return
        member = len(numbers)
        for name in range(max(numbers, default=-1) + 2):
            if all(group[other] != group[member] for other in range(member) if numbers[other] == name):
                yield from place([*numbers, name])

    return place([])


def weight_of(weight: FloatArray, cluster: list[int] | IntArray) -> float:
    together = np.asarray(cluster)[:, None] == np.asarray(cluster)[None]
    return float(np.triu(weight * together, 1).sum())


def symmetric(rng: np.random.Generator, members: int) -> FloatArray:
    weight = rng.normal(size=(members, members))
    return np.asarray(weight + weight.T)


@pytest.mark.parametrize("seed", range(60))
def test_it_is_the_best_of_all_partitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = np.sort(rng.integers(0, 4, rng.integers(2, 8)))
    weight = symmetric(rng, len(group))
    found = partition(weight, group)
    best = max(weight_of(weight, cluster) for cluster in every_partition(group))
    assert found.optimal
    assert found.value == pytest.approx(best)
    assert weight_of(weight, found.cluster) == pytest.approx(best)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 6))
def test_what_holds_for_every_partition(seed: int, members: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    group, weight = rng.integers(0, groups, members), symmetric(rng, members)
    found = partition(weight, group)
    together = (found.cluster[:, None] == found.cluster[None]) & ~np.eye(members, dtype=np.bool_)
    assert not (together & (group[:, None] == group[None])).any()
    assert found.value >= -1e-9, "everybody alone is a partition too"
    assert found.value == pytest.approx(weight_of(weight, found.cluster))
    first = [int(np.flatnonzero(found.cluster == number)[0]) for number in range(int(found.cluster.max()) + 1)]
    assert first == sorted(first), "numbered in the order of first members"
    assert partition(weight, group).cluster.tolist() == found.cluster.tolist()


def test_a_pair_that_agrees_less_gives_way() -> None:
    """Both members of group 0 would join the same one of group 1; the total decides, not the best pair."""
    weight = np.zeros((4, 4))
    for i, j, value in ((0, 2, 1.0), (1, 2, 0.9), (0, 3, 0.8), (1, 3, -1.0)):
        weight[i, j] = weight[j, i] = value
    assert partition(weight, np.array([0, 0, 1, 1])).cluster.tolist() == [0, 1, 1, 0]


def test_nobody_at_all() -> None:
    found = partition(np.zeros((0, 0)), np.zeros(0, dtype=np.int64))
    assert (found.cluster.shape, found.value, found.optimal) == ((0,), 0.0, True)
