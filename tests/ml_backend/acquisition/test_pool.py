import numpy as np
import pytest

from label_config.values import BadInputError, FrameKey
from ml_backend.acquisition.pool import Pool


def a_pool() -> Pool:
    return Pool.from_keys([FrameKey("a", i) for i in (3, 4, 9)] + [FrameKey("b", i) for i in (0, 4)])


def test_keys_round_trip() -> None:
    pool = a_pool()
    keys = [pool.key(i) for i in range(len(pool))]
    assert keys == sorted(keys)
    assert pool.positions([*reversed(keys), FrameKey("a", 5), FrameKey("c", 0), FrameKey("b", 9)]) == {
        key: i for i, key in enumerate(keys)
    }
    part = pool.take(np.array([1, 3]))
    assert [part.key(0), part.key(1)] == [FrameKey("a", 4), FrameKey("b", 0)]


@pytest.mark.parametrize(
    ("position", "frames", "expected"), [(0, 1, [0, 1]), (0, 0, [0]), (1, 5, [0, 1, 2]), (2, 4, [2]), (3, 4, [3, 4]), (4, 3, [4])]
)
def test_near_stays_in_the_sequence_and_counts_frame_numbers(position: int, frames: int, expected: list[int]) -> None:
    assert list(range(5))[a_pool().near(position, frames)] == expected


def test_unsorted_or_repeated_frames_are_named() -> None:
    for keys in ([FrameKey("a", 1), FrameKey("a", 1)], [FrameKey("b", 1), FrameKey("a", 2)]):
        with pytest.raises(BadInputError, match=r"followed by a/00000[12]"):
            Pool.from_keys(keys)
    with pytest.raises(BadInputError, match="two arrays"):
        Pool(("a",), np.zeros(2, dtype=int), np.zeros(3, dtype=int))
    with pytest.raises(BadInputError, match="unique"):
        Pool(("b", "a"), np.zeros(0, dtype=int), np.zeros(0, dtype=int))


def test_digest_depends_on_frames_and_names() -> None:
    renamed = Pool.from_keys([FrameKey("x", i) for i in (3, 4, 9)] + [FrameKey("y", i) for i in (0, 4)])
    assert a_pool().digest() == a_pool().digest()
    assert len({a_pool().digest(), renamed.digest(), a_pool().take(np.arange(4)).digest()}) == 3


@pytest.mark.parametrize("n", [0, 1, 2, 7, 64, 100])
def test_every_beginning_of_the_spread_is_even(n: int) -> None:
    pool = Pool.from_keys([FrameKey("a", i) for i in range(n)])
    order = pool.spread()
    assert sorted(order.tolist()) == list(range(n))
    for head in range(1, n + 1):
        gaps = np.diff(np.sort(np.append(order[:head], n)))
        # Bit reversal of the next power of two N leaves gaps of at most N / 2**floor(log2(head)).
        assert gaps.max() <= 2 ** ((max(n - 1, 1)).bit_length() - (head.bit_length() - 1))
