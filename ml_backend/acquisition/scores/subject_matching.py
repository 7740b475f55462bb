"""Scores that compare the subjects of a frame: how many there are, and which instances of them belong together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np

from label_config.values import BoolArray, FloatArray
from label_config.values.masked import masked_mean
from ml_backend.acquisition.combining import strongest
from ml_backend.acquisition.score import Chunk, Context, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import NothingToLearn, nothing
from ml_backend.acquisition.scores.temporal import linked, to_neighbours
from ml_backend.geometry.ambiguity import matching_ambiguity


def _counts(chunk: Chunk) -> FloatArray:
    """(n, V) subjects that each camera shows; NaN without a picture, and throughout a frame in which no camera shows any."""
    assert chunk.subjects is not None
    shown: BoolArray = np.asarray(np.isfinite(chunk.subjects).all(axis=-1).any(axis=-1))
    count = shown.sum(axis=1, dtype=np.float64)
    there = np.ones(count.shape, dtype=np.bool_) if chunk.pictures is None else chunk.pictures
    known = np.asarray(shown.any(axis=(1, 2)))[:, None] & there
    return np.where(known, count, np.nan)


@dataclass(frozen=True)
class CountDisagreement(NothingToLearn):
    """Difference in the number of subjects between two cameras, mean over all pairs of cameras."""

    name: ClassVar[str] = "count_disagreement"
    unit: ClassVar[str] = "subjects"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.SUBJECTS, Context.VIEWS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "after the person counts of Kaplan et al. 2021"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Cameras without a picture do not count."""
        if chunk.subjects is None or chunk.xy_px.shape[1] < 2:
            return nothing(chunk)
        count = _counts(chunk)[chunk.core]
        pairs = np.array(list(combinations(range(count.shape[1]), 2)))
        return Scores(*masked_mean(np.abs(count[:, pairs[:, 0]] - count[:, pairs[:, 1]]), axis=1))


@dataclass(frozen=True)
class CountChange(NothingToLearn):
    """Difference in the number of subjects to the frames before and after in the same camera."""

    name: ClassVar[str] = "count_change"
    unit: ClassVar[str] = "subjects"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.SUBJECTS, Context.NEIGHBOURS})
    halo: ClassVar[int] = 1
    source: ClassVar[str] = "after the person counts of Kaplan et al. 2021"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over the neighbours that there are and over cameras."""
        if chunk.subjects is None:
            return nothing(chunk)
        count = _counts(chunk)
        change = np.full(count.shape, np.nan)
        change[1:] = np.abs(count[1:] - count[:-1])
        change[~linked(chunk)] = np.nan
        return Scores(*masked_mean(to_neighbours(change, chunk.core), axis=(0, 2)))


@dataclass(frozen=True)
class AssignmentAmbiguity(NothingToLearn):
    """How near the second best matching of subjects across cameras comes to the one in use; above 1 it is better."""

    name: ClassVar[str] = "assignment_ambiguity"
    unit: ClassVar[str] = "1"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.SUBJECTS, Context.RIG})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "best against second-best matching (docs/methods.md §1.7)"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """That of the subject whose matching is least clear."""
        if chunk.subjects is None or chunk.rig is None:
            return nothing(chunk)
        found = matching_ambiguity(chunk.rig, chunk.subjects[chunk.core])
        known = np.isfinite(found)
        raw = np.where(known, found, -np.inf).max(axis=1, initial=-np.inf)
        return Scores(np.where(known.any(axis=1), raw, np.nan), known.sum(axis=1), subject=strongest(found))
