"""The frames that may be picked, in the fixed order by which every tie is broken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from label_config.values import BadInputError, FrameKey, IntArray


@dataclass(frozen=True)
class Pool:
    """Frames sorted by sequence name and frame number; position in this order is the stable id of a frame.

    sequences  names, sorted, unique
    sequence   (n,) position in ``sequences``
    index      (n,) frame number
    """

    sequences: tuple[str, ...]
    sequence: IntArray
    index: IntArray

    def __post_init__(self) -> None:
        if self.sequence.ndim != 1 or self.sequence.shape != self.index.shape:
            raise BadInputError(f"Pool: expected two arrays of shape (n,), got {self.sequence.shape} and {self.index.shape}")
        if list(self.sequences) != sorted(set(self.sequences)):
            raise BadInputError("Pool.sequences: expected sorted, unique names")
        step, advance = np.diff(self.sequence), np.diff(self.index)
        wrong = np.flatnonzero((step < 0) | ((step == 0) & (advance <= 0)))
        if len(wrong):
            raise BadInputError(
                f"Pool: frames must be sorted by sequence and frame number without repeats, but {self.key(int(wrong[0]))} "
                f"is followed by {self.key(int(wrong[0]) + 1)}; build the pool with Pool.from_keys(sorted(set(keys)))"
            )

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def from_keys(cls, keys: Sequence[FrameKey]) -> Pool:
        """From keys that are sorted and unique (so that other arrays keep their rows).  BadInputError otherwise."""
        sequences = tuple(sorted({key.sequence for key in keys}))
        number = {name: position for position, name in enumerate(sequences)}
        sequence = np.array([number[key.sequence] for key in keys], dtype=np.int64)
        return cls(sequences, sequence, np.array([key.index for key in keys], dtype=np.int64))

    def key(self, position: int) -> FrameKey:
        """The frame at a position.  Raises BadInputError outside the pool."""
        self._check(position)
        return FrameKey(self.sequences[self.sequence[position]], int(self.index[position]))

    def positions(self, keys: Iterable[FrameKey]) -> dict[FrameKey, int]:
        """Position of every key that is in the pool; the others are left out."""
        number = {name: position for position, name in enumerate(self.sequences)}
        found = {}
        for key in keys:
            if key.sequence in number:
                start, stop = np.searchsorted(self.sequence, [number[key.sequence], number[key.sequence] + 1])
                position = int(start + np.searchsorted(self.index[start:stop], key.index))
                if position < stop and self.index[position] == key.index:
                    found[key] = position
        return found

    def take(self, positions: IntArray) -> Pool:
        """The part of the pool at increasing ``positions``."""
        return Pool(self.sequences, self.sequence[positions], self.index[positions])

    def near(self, position: int, frames: int) -> slice:
        """Positions of the frames of the same sequence that are at most ``frames`` frame numbers away."""
        self._check(position)
        start, stop = np.searchsorted(self.sequence, [self.sequence[position], self.sequence[position] + 1])
        low, high = np.searchsorted(self.index[start:stop], [self.index[position] - frames, self.index[position] + frames + 1])
        return slice(int(start + low), int(start + high))

    def _check(self, position: int) -> None:
        if not 0 <= position < len(self):
            raise BadInputError(f"Pool: expected a position in 0..{len(self) - 1}, got {position}")

    def digest(self) -> str:
        """Hash of the frames, for the record of a round."""
        names = "\n".join(self.sequences).encode()
        return hashlib.sha256(names + b"\0" + self.sequence.tobytes() + self.index.tobytes()).hexdigest()

    def spread(self) -> IntArray:
        """(n,) positions ordered so that every beginning of the order is spread evenly over the pool.

        Used where neither scores nor features exist.  Positions by bit reversal: 0, 1/2, 1/4, 3/4, 1/8, ...
        """
        bits = max(len(self) - 1, 1).bit_length()
        position = np.arange(len(self), dtype=np.int64)
        reversed_bits = np.zeros_like(position)
        for bit in range(bits):
            reversed_bits |= ((position >> bit) & 1) << (bits - 1 - bit)
        return np.argsort(reversed_bits, kind="stable").astype(np.int64)
