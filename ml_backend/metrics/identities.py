"""Do numbers stay with their subjects?  MOTA (Bernardin & Stiefelhagen 2008) and IDF1 (Ristani et al. 2016).

Written out here because the library that is usual for it has had no release since 2022; on random tracks both agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from label_config.values import BadInputError, FloatArray


@dataclass(frozen=True)
class Seen:
    """One frame: numbers of the m subjects that are there and of the n that were found, and their distances (m, n).

    NaN = too far apart to be the same.
    """

    subjects: tuple[int, ...]
    found: tuple[int, ...]
    distance: FloatArray

    def __post_init__(self) -> None:
        if self.distance.shape != (len(self.subjects), len(self.found)):
            wanted = (len(self.subjects), len(self.found))
            raise BadInputError(f"identities: expected distances of shape {wanted}, got {self.distance.shape}")


@dataclass(frozen=True)
class Identities:
    """Over all frames; shares are NaN without a subject.

    mota      1 − (missed + spurious + switches) / subjects
    idf1      share of subjects and finds that agree when every number stands for one and the same subject throughout
    switches  how often a subject was found under another number than the last time
    """

    mota: float
    idf1: float
    switches: int
    missed: int
    spurious: int
    subjects: int


def identities(recordings: Sequence[Sequence[Seen]]) -> Identities:
    """Compare the numbers of whole recordings, the frames of each in temporal order."""
    counts = np.sum([_clear(frames) for frames in recordings], axis=0) if recordings else np.zeros(4, dtype=np.int64)
    switches, missed, spurious, subjects = counts.tolist()
    found = sum(len(frame.found) for frames in recordings for frame in frames)
    agreeing = sum(map(_agreeing, recordings))
    return Identities(
        mota=1 - (switches + missed + spurious) / subjects if subjects else float("nan"),
        idf1=2 * agreeing / (subjects + found) if subjects + found else float("nan"),
        switches=switches,
        missed=missed,
        spurious=spurious,
        subjects=subjects,
    )


def _clear(frames: Sequence[Seen]) -> tuple[int, int, int, int]:
    """(switches, missed, spurious, subjects): a pair that still holds is kept, the others are assigned at least distance."""
    last: dict[int, int] = {}
    switches = missed = spurious = 0
    for frame in frames:
        near = np.isfinite(frame.distance)
        pairs: dict[int, int] = {}
        for i, subject in enumerate(frame.subjects):
            j = frame.found.index(last[subject]) if last.get(subject) in frame.found else -1
            if j >= 0 and near[i, j] and j not in pairs.values():
                pairs[i] = j
        rows = [i for i in range(len(frame.subjects)) if i not in pairs]
        columns = [j for j in range(len(frame.found)) if j not in pairs.values()]
        pairs |= {rows[a]: columns[b] for a, b in _nearest(frame.distance[np.ix_(rows, columns)])}
        for i, j in pairs.items():
            subject, number = frame.subjects[i], frame.found[j]
            switches += last.get(subject, number) != number
            last[subject] = number
        missed += len(frame.subjects) - len(pairs)
        spurious += len(frame.found) - len(pairs)
    return switches, missed, spurious, sum(len(frame.subjects) for frame in frames)


def _nearest(distance: FloatArray) -> list[tuple[int, int]]:
    """As many pairs as there can be, of those the nearest."""
    near = np.isfinite(distance)
    if not near.any():
        return []
    far = (distance[near].max() + 1) * (min(distance.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(near, distance, far))
    return [(a, b) for a, b in zip(rows.tolist(), columns.tolist(), strict=True) if near[a, b]]


def _agreeing(frames: Sequence[Seen]) -> int:
    """Most finds that are right when every number stands for one subject."""
    together: Counter[tuple[int, int]] = Counter()
    for frame in frames:
        for i, j in np.argwhere(np.isfinite(frame.distance)).tolist():
            together[frame.subjects[i], frame.found[j]] += 1
    subjects, numbers = (sorted({pair[side] for pair in together}) for side in (0, 1))
    table = np.array([[together[subject, number] for number in numbers] for subject in subjects])
    table = table.reshape(len(subjects), len(numbers))
    rows, columns = linear_sum_assignment(table, maximize=True)
    return int(table[rows, columns].sum())
