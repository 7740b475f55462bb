"""Several annotations of one task → one label per subject."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray, PointState, Pose2D, Provenance


@dataclass(frozen=True)
class Annotation:
    """One submitted annotation.

    person        who submitted it; None = an account that is gone, each one a person of their own
    poses         subject → pose; a subject without one placed or absent point says nothing
    cancelled     the person skipped the task
    ground_truth  marked as such in Label Studio
    """

    id: int
    person: Hashable | None
    updated_at: datetime
    poses: Mapping[int, Pose2D]
    cancelled: bool = False
    ground_truth: bool = False


@dataclass(frozen=True)
class Merged:
    """What all annotations of one task say together.

    poses      subject → pose; empty when nobody said anything about any point
    used       ids of the annotations that went in, ascending
    people     number of people behind them
    """

    poses: dict[int, Pose2D]
    used: tuple[int, ...]
    people: int
    ground_truth: bool

    @property
    def empty(self) -> bool:
        """Submitted, but without a single point: neither a label nor an example of an empty picture."""
        return not self.poses


def merge_annotations(annotations: Sequence[Annotation]) -> Merged | None:
    """The newest annotation of each person that is not cancelled, then the median over people; None when none is left.

    Where a person marked annotations as ground truth, only those count.  Per point: people who left it unlabelled
    abstain; it is absent when more say so than place it; else its coordinates are the median of those who placed it,
    and it is occluded when more placed it so than visible.
    """
    valid = [a for a in annotations if not a.cancelled]
    truths = [a for a in valid if a.ground_truth]
    newest: dict[Hashable, Annotation] = {}
    for annotation in sorted(truths or valid, key=lambda a: (a.updated_at, a.id)):
        newest[("gone", annotation.id) if annotation.person is None else annotation.person] = annotation
    if not newest:
        return None
    chosen = sorted(newest.values(), key=lambda a: a.id)
    poses: dict[int, Pose2D] = {}
    for subject in sorted({s for a in chosen for s in a.poses}):
        given = [a.poses[subject] for a in chosen if subject in a.poses]
        if len({p.state.shape for p in given}) > 1:
            ids = ", ".join(str(a.id) for a in chosen)
            raise BadInputError(f"annotations {ids}: their poses differ in shape; read all with the same binding")
        pose = _median_pose(given)
        if (pose.state != PointState.UNLABELLED).any():
            poses[subject] = pose
    return Merged(poses, tuple(a.id for a in chosen), len(chosen), bool(truths))


def _median_pose(poses: Sequence[Pose2D]) -> Pose2D:
    """Return the merged pose of one subject."""
    state = np.stack([p.state for p in poses])
    placed = np.stack([p.placed for p in poses]) & np.isin(state, (PointState.VISIBLE, PointState.OCCLUDED))
    absent = (state == PointState.ABSENT).sum(axis=0)
    votes = placed.sum(axis=0)
    kept = (votes > 0) & (votes >= absent)
    xy = _median_over_people(np.stack([p.xy_px for p in poses]), placed & kept)
    occluded = (placed & (state == PointState.OCCLUDED)).sum(axis=0)
    merged_state: IntArray = np.full(kept.shape, PointState.UNLABELLED, dtype=np.int64)
    merged_state[kept] = PointState.VISIBLE
    merged_state[kept & (2 * occluded > votes)] = PointState.OCCLUDED
    merged_state[absent > votes] = PointState.ABSENT
    by_hand = (placed & np.stack([p.provenance == Provenance.PLACED for p in poses])).any(axis=0)
    provenance: IntArray = np.where(by_hand, Provenance.PLACED, Provenance.ACCEPTED)
    return Pose2D(
        xy_px=xy,
        confidence=np.where(kept, 1.0, np.nan),
        state=merged_state,
        provenance=np.where(kept, provenance, Provenance.NONE),
    )


def _median_over_people(xy: FloatArray, use: BoolArray) -> FloatArray:
    """(V, K, 2) median over the first axis of (P, V, K, 2) where ``use`` (P, V, K); NaN where nobody counts."""
    ordered = np.sort(np.where(use[..., None], xy, np.inf), axis=0)
    count = use.sum(axis=0)[None, ..., None]
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=0)[0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(xy) - 1), axis=0)[0]
    known = count[0] > 0
    return np.where(known, 0.5 * (np.where(known, low, 0.0) + np.where(known, high, 0.0)), np.nan)
