"""Random order: the baseline that every other score has to beat."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from label_config.values import FloatArray, IntArray
from ml_backend.acquisition.score import Chunk, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import NothingToLearn


@dataclass(frozen=True)
class Random(NothingToLearn):
    """A uniform number that depends on the seed and the frame's key alone, so it never changes between runs or shards."""

    seed: int = 0

    name: ClassVar[str] = "random"
    unit: ClassVar[str] = "1"
    requires: ClassVar[frozenset[Need]] = frozenset()
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "baseline"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Uniform in [0, 1)."""
        digest = hashlib.blake2b(f"{self.seed}/{chunk.sequence}".encode(), digest_size=8).digest()
        raw = hashed_uniform(chunk.index[chunk.core], int.from_bytes(digest, "little"))
        return Scores(raw, np.ones(len(raw), dtype=np.int64))


def hashed_uniform(index: IntArray, key: int) -> FloatArray:
    """Uniform numbers in [0, 1) from integers by the SplitMix64 finaliser (Steele et al. 2014)."""
    state: npt.NDArray[np.uint64] = index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
