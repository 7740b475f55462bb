"""How far people agree who labelled the same task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from label_config.values import DEFAULT_SUBJECT, FloatArray
from ml_backend.labels.merge import Annotation


@dataclass(frozen=True)
class Agreement:
    """Of all pairs of people with a task in common.

    tasks        tasks that at least two people labelled
    people       people among them
    distance_px  (n,) distances between two people's places of one point, image pixels
    one_sided    points that one of a pair placed and the other did not
    by_pair      two people → median of their distances, pixels
    """

    tasks: int
    people: int
    distance_px: FloatArray
    one_sided: int
    by_pair: Mapping[tuple[int, int], float]


def agreement(tasks: Iterable[Sequence[Annotation]]) -> Agreement:
    """Compare the newest annotation of each person, task by task; skipped ones and unknown people do not count."""
    shared, people, one_sided = 0, set[int](), 0
    distances: dict[tuple[int, int], list[float]] = defaultdict(list)
    for of_task in tasks:
        newest: dict[int, Annotation] = {}
        for one in sorted(of_task, key=lambda one: (one.updated_at, one.id)):
            if not one.cancelled and isinstance(one.person, int) and DEFAULT_SUBJECT in one.poses:
                newest[one.person] = one
        if len(newest) < 2:
            continue
        shared += 1
        people |= newest.keys()
        for first, second in combinations(sorted(newest), 2):
            a, b = newest[first].poses[DEFAULT_SUBJECT], newest[second].poses[DEFAULT_SUBJECT]
            if a.state.shape != b.state.shape:
                continue
            both = a.placed & b.placed
            one_sided += int((a.placed ^ b.placed).sum())
            distances[first, second] += np.linalg.norm(a.xy_px - b.xy_px, axis=-1)[both].tolist()
    every = np.array([d for of in distances.values() for d in of], dtype=np.float64)
    return Agreement(shared, len(people), every, one_sided, {pair: float(np.median(of)) for pair, of in distances.items() if of})
