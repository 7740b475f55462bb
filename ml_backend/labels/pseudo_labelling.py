"""Pseudo-labels from agreeing views (Feng et al. 2023, section 3.4 and algorithm 2).

Where the predictions of all cameras agree on a place in world coordinates, its projections become labels in every picture.
Whole frames are rare while the model is young, so single keypoints are accepted too and the loss is masked.  Recordings without
calibration have no pseudo-labels: there is no independent evidence for their points.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray, FrameKey, IntArray, Triangulation
from ml_backend.geometry import consistency
from ml_backend.geometry.cameras import Rig


@dataclass(frozen=True)
class PseudoParams:
    """Criteria of pseudo-labels, and their greatest number.

    max_ratio      pseudo-labels per human label of the last batch.  Counted in keypoints, a frame being K keypoints, so that
                   accepting single keypoints adds no more than the same number of whole frames.
    min_views      valid views that a keypoint needs, all of them inliers
    min_angle_deg  largest angle between two of its rays must reach this
    threshold_px   largest reprojection error of a keypoint over its views; None = that of the robust triangulation
    per_joint      accept keypoints of frames of which others fail; False = whole frames only, as published
    """

    max_ratio: float = 0.2
    min_views: int = 3
    min_angle_deg: float = 10.0
    threshold_px: float | None = None
    per_joint: bool = True

    def __post_init__(self) -> None:
        if not self.max_ratio >= 0 or self.min_views < 3:
            raise BadInputError(
                f"pseudo-labels: expected max_ratio >= 0 and min_views >= 3 (two views always nearly agree), "
                f"got {self.max_ratio} and {self.min_views}"
            )


@dataclass(frozen=True)
class PseudoLabels:
    """Accepted keypoints of p frames, in order of acceptance.

    accepted   (p, K) True where the keypoint is a label
    whole      (p,) every keypoint of the frame was accepted
    xyz_world  (p, K, 3) world units, NaN where not accepted
    xy_px      (p, V, K, 2) ``xyz_world`` in every view, distorted pixels; NaN where ``weight`` is 0
    weight     (p, V, K) 1, or 0 where not accepted, outside the picture or behind the camera
    error      (p,) mean squared reprojection error of the frame in px^2, over all views and keypoints
    rows       (p,) positions among the frames that were proposed from
    """

    keys: tuple[FrameKey, ...]
    accepted: BoolArray
    whole: BoolArray
    xyz_world: FloatArray
    xy_px: FloatArray
    weight: FloatArray
    error: FloatArray
    rows: IntArray

    def __len__(self) -> int:
        return len(self.keys)


def acceptable_keypoints(triangulated: Triangulation, params: PseudoParams) -> BoolArray:
    """(n, K) True where a keypoint may become a label.

    A consensus exists, every view with a point of the keypoint agrees with it, there are at least ``min_views`` of them under an
    angle of at least ``min_angle_deg``, and no residual exceeds ``threshold_px``.
    """
    good = consistency.trusted(triangulated, params.min_views, params.min_angle_deg)
    if params.threshold_px is not None:
        good &= ~np.asarray((triangulated.reprojection_px > params.threshold_px).any(axis=1))
    return good & np.asarray(np.isfinite(triangulated.xyz_world).all(axis=-1))


def propose(
    keys: Sequence[FrameKey],
    triangulated: Triangulation,
    rigs: Mapping[str, Rig],
    *,
    human_batch: int,
    previous: Collection[FrameKey] = (),
    excluded: Collection[FrameKey] = (),
    params: PseudoParams = PseudoParams(),
) -> PseudoLabels:
    """The pseudo-labels of one round.

    keys          n unlabelled frames; ``triangulated`` has batch axes (n,) in the same order.  Of several subjects each is a
                  row of its own, and a whole frame is a whole subject
    rigs          sequence -> its rig; frames of other sequences are never accepted
    human_batch   frames that annotators labelled in the round; the cap is ``max_ratio * human_batch * K`` keypoints
    previous      frames of the previous round's pseudo-labels.  They sit out one round, else the model drifts by learning
                  its own output again and again.
    excluded      frames to leave out for other reasons, such as those just picked for annotators

    Whole frames come first, by increasing error; then single keypoints of the others, frame by frame in the same order, the
    most accurate of the last frame that still fits.  Ties go to the lowest key.
    """
    frames, views, n_keypoints = _check(keys, triangulated)
    error, support = consistency.multi_view_consistency(triangulated.reprojection_px)
    barred = set(previous) | set(excluded)
    good = acceptable_keypoints(triangulated, params)
    good &= np.array([key.sequence in rigs and key not in barred for key in keys], dtype=np.bool_).reshape(frames, 1)
    scored = np.flatnonzero(support > 0)
    order = np.array(sorted(scored, key=lambda i: (error[i], keys[i])), dtype=np.int64)
    worst = np.nan_to_num(triangulated.reprojection_px).max(axis=1, initial=0.0)
    # The small addend undoes rounding: 0.29 * 100 is 28.999... in binary.
    accepted = _fill(good, worst, order, int(params.max_ratio * human_batch * n_keypoints + 1e-9), params)
    count = accepted[order].sum(axis=1)
    rows = np.concatenate([order[count == n_keypoints], order[(count > 0) & (count < n_keypoints)]])
    return _labels(keys, triangulated.xyz_world, accepted, error, rows, rigs, views)


def _check(keys: Sequence[FrameKey], triangulated: Triangulation) -> tuple[int, int, int]:
    shape = triangulated.reprojection_px.shape
    if len(shape) != 3 or shape[0] != len(keys):
        raise BadInputError(f"pseudo-labels: expected a triangulation of {len(keys)} frames, (n, V, K), got shape {shape}")
    return shape


def _fill(good: BoolArray, worst: FloatArray, order: IntArray, budget: int, params: PseudoParams) -> BoolArray:
    """(n, K) accepted keypoints, at most ``budget`` of them; ``worst`` (n, K) orders the keypoints of the frame that is cut."""
    accepted = np.zeros_like(good)
    n_keypoints = good.shape[1]
    whole = np.asarray(good.all(axis=1))
    for i in order[whole[order]][: budget // max(n_keypoints, 1)]:
        accepted[i] = True
        budget -= n_keypoints
    if not params.per_joint:
        return accepted
    for i in order[~accepted[order].any(axis=1) & good[order].any(axis=1)]:
        if budget <= 0:
            break
        candidates = np.flatnonzero(good[i])
        best = candidates[np.argsort(worst[i, candidates], kind="stable")[:budget]]
        accepted[i, best] = True
        budget -= len(best)
    return accepted


def _labels(
    keys: Sequence[FrameKey],
    xyz_world: FloatArray,
    accepted: BoolArray,
    error: FloatArray,
    rows: IntArray,
    rigs: Mapping[str, Rig],
    views: int,
) -> PseudoLabels:
    chosen = tuple(keys[i] for i in rows)
    kept = accepted[rows]
    xyz = np.where(kept[..., None], xyz_world[rows], np.nan)
    xy = np.full((len(rows), views, accepted.shape[1], 2), np.nan)
    weight = np.zeros(xy.shape[:-1])
    for sequence in {key.sequence for key in chosen}:
        mine = np.array([key.sequence == sequence for key in chosen], dtype=np.bool_)
        projected = rigs[sequence].project(xyz[mine])
        if projected.shape[1] != views:
            raise BadInputError(f"pseudo-labels: the rig of {sequence!r} has {projected.shape[1]} cameras, expected {views}")
        inside = rigs[sequence].inside(projected)
        xy[mine] = np.where(inside[..., None], projected, np.nan)
        weight[mine] = inside
    return PseudoLabels(chosen, kept, np.asarray(kept.all(axis=1)), xyz, xy, weight, error[rows], rows)
