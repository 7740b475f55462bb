"""Training or validation: decided once per frame, before a label exists.

Neighbouring frames of a video are nearly copies of one another, so whole blocks of time go to validation, with a guard gap
on either side that belongs to neither; pictures that are no more alike than others go one by one.  With the rule of its
sequence, the decision depends only on the project's seed, the sequence and the frame number: frames added later, in any
order, on any machine, change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray

TRAIN, VALIDATION, GUARD = "train", "val", "guard"

#: Share of the frames that is kept for validation, and the most that a small project gives for a gate that can work.
SHARE, LARGEST_SHARE = 0.1, 0.2
#: Validation frames of a video lie in about so many blocks: errors of one block are alike, so one block says little.
BLOCKS = 3
#: Pictures of a block: fewer cost more guard frames than they hold, more are not needed.
LEAST_BLOCK, LARGEST_BLOCK = 3, 50
#: Of a block's pictures, so many lie in the gap on either side.
GUARD_SHARE = 0.2


@dataclass(frozen=True)
class SplitRule:
    """How the frames of one sequence are split; lengths count frame numbers.  ``why`` says where they come from."""

    fraction: float
    block_frames: int
    guard_frames: int
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """For the store."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SplitRule:
        """Back from the store."""
        return cls(**data)

    def of(self, sequence: str, indices: IntArray, seed: int) -> npt.NDArray[np.str_]:
        """(n,) "train", "val" or "guard" of frame numbers (n,)."""
        return assign_split(
            sequence,
            indices,
            fraction=self.fraction,
            block_frames=self.block_frames,
            guard_frames=self.guard_frames,
            seed=seed,
        )


def choose_rule(n_frames: int, indices: IntArray, *, alike: bool, wanted: int, why: str = "") -> SplitRule:
    """The rule that fits a project of ``n_frames`` frames, for a sequence with these frame numbers (n,).

    alike   neighbours in the sequence are nearly copies: blocks with gaps, else single pictures
    wanted  validation frames that are enough; a small project gives up to a fifth of its frames for them
    """
    fraction = min(max(wanted / max(n_frames, 1), SHARE), LARGEST_SHARE)
    if not alike:
        return SplitRule(fraction, 1, 0, why)
    numbers = np.unique(np.asarray(indices, dtype=np.int64))
    step = max(1, round(float(np.median(np.diff(numbers))))) if len(numbers) > 1 else 1
    pictures = min(max(round(fraction * n_frames / BLOCKS), LEAST_BLOCK), LARGEST_BLOCK)
    guard = max(1, round(GUARD_SHARE * pictures))
    return SplitRule(fraction, pictures * step, guard * step, why)


def assign_split(
    sequence: str, indices: IntArray, *, fraction: float, block_frames: int, guard_frames: int, seed: int
) -> npt.NDArray[np.str_]:
    """(n,) "train", "val" or "guard" of frame numbers (n,).

    Time is cut into blocks of ``block_frames``.  Of every 1 / fraction consecutive blocks one, at random, is validation;
    frames at most ``guard_frames`` before or after it are guard.  A sequence needs about 1 / fraction blocks to be sure
    of one validation block.
    """
    if not 0 <= fraction <= 1:
        raise BadInputError(f"split: the validation fraction must be in [0, 1], got {fraction}")
    if block_frames < 1 or guard_frames < 0:
        raise BadInputError(f"split: expected block_frames ≥ 1 and guard_frames ≥ 0, got {block_frames} and {guard_frames}")
    frames = np.asarray(indices, dtype=np.int64)
    if len(frames) and frames.min() < 0:
        raise BadInputError(f"split of {sequence!r}: frame numbers must not be negative, got {frames.min()}")
    key = _key("split", seed, sequence)
    block = frames // block_frames
    split = np.full(frames.shape, TRAIN, dtype="<U5")
    near = np.zeros(frames.shape, dtype=np.bool_)
    for away in range(1, -(-guard_frames // block_frames) + 1):
        to_next = (block + away) * block_frames - frames
        since_last = frames - ((block - away + 1) * block_frames - 1)
        near |= _is_validation(key, block + away, fraction) & (to_next <= guard_frames)
        near |= _is_validation(key, block - away, fraction) & (since_last <= guard_frames)
    split[near] = GUARD
    split[_is_validation(key, block, fraction)] = VALIDATION
    return split


def stable_uniform(sequence: str, indices: IntArray, seed: int) -> FloatArray:
    """(n,) numbers in [0, 1), one per frame, the same for ever: the order in which frames are picked at random.

    Sticky: adding frames changes no other frame's number.
    """
    return _uniform(_key("pick", seed, sequence), np.asarray(indices, dtype=np.int64))


def random_slots(count: int, every: int = 10) -> BoolArray:
    """(count,) True for the positions of the served order that random picks hold: the last of every ``every``; 0 = none."""
    if every < 0:
        raise BadInputError(f"random slots: expected every ≥ 0, got {every}")
    return (np.arange(1, count + 1) % every == 0) if every else np.zeros(count, dtype=np.bool_)


def _is_validation(key: np.uint64, block: IntArray, fraction: float) -> BoolArray:
    """Whether each block is the one drawn from its stratum of 1 / fraction blocks."""
    if fraction == 0:
        return np.zeros(block.shape, dtype=np.bool_)
    if fraction == 1:
        return block >= 0
    chosen = np.zeros(block.shape, dtype=np.bool_)
    # A block may straddle two strata; the draw of either may fall into it.
    first = np.floor(block * fraction).astype(np.int64)
    for stratum in (first, first + 1):
        chosen |= np.floor((stratum + _uniform(key, stratum)) / fraction) == block
    return np.asarray(chosen & (block >= 0))


def _key(purpose: str, seed: int, sequence: str) -> np.uint64:
    digest = hashlib.blake2b(f"{purpose}\0{seed}\0{sequence}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _uniform(key: np.uint64, number: IntArray) -> FloatArray:
    """SplitMix64 finaliser of key + number · golden ratio, as a float in [0, 1)."""
    z = key + number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(11)).astype(np.float64) * 2.0**-53)
