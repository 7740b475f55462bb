"""From single terms to a frame's score: masked means, and what to say when nothing can be said."""

from __future__ import annotations

import numpy as np

from label_config.values import BoolArray, FloatArray
from label_config.values.masked import masked_mean
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.score import Chunk, Labelled, Scores, State
from ml_backend.geometry.cameras import Rig

#: Cells along a heatmap's side in the papers on auxiliary networks.
CELLS = 64


class NothingToLearn:
    """Mixin for scores that need no labels."""

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """Nothing to learn."""
        return None


def mean_of_views(per_point: FloatArray, *, sum_keypoints: bool = False) -> Scores:
    """Mean over keypoints, then over the views that have one (Feng et al. 2023, eq. 1–2).

    per_point   (c, V, K), NaN = no term
    sum_keypoints  sum over keypoints instead of their mean, as the single-view papers print it
    """
    mean, count = masked_mean(per_point, axis=2)
    per_view = mean * count if sum_keypoints else mean
    raw, _ = masked_mean(per_view, axis=1)
    return Scores(raw, count.sum(axis=1), per_point)


def mean_of_terms(per_point: FloatArray) -> Scores:
    """Mean over all terms of a frame at once (Feng et al. 2023, eq. 4).  ``per_point`` (c, V, K), NaN = no term."""
    raw, support = masked_mean(per_point, axis=(1, 2))
    return Scores(raw, support, per_point)


def mean_of_keypoints(per_keypoint: FloatArray, n_views: int) -> Scores:
    """Mean over keypoints of something that no single view owns; every view shows the same value.

    per_keypoint  (c, K), NaN = no term
    """
    raw, support = masked_mean(per_keypoint, axis=1)
    shape = (per_keypoint.shape[0], n_views, per_keypoint.shape[1])
    return Scores(raw, support, np.broadcast_to(per_keypoint[:, None, :], shape))


def nothing(chunk: Chunk) -> Scores:
    """What a score says when its input or its state is missing."""
    count = len(chunk.index[chunk.core])
    return Scores(np.full(count, np.nan), np.zeros(count, dtype=np.int64))


def predicted(chunk: Chunk) -> BoolArray:
    """(c, V, K) True where the network said something: a point, or at least a confidence (a blank heatmap)."""
    output: BoolArray = chunk.valid | np.isfinite(chunk.confidence)
    return output[chunk.core]


def crop_side_px(chunk: Chunk) -> FloatArray:
    """(c, V) square root of the area of the crop that the network was given, of the whole picture where there was none."""
    full = np.broadcast_to(np.sqrt(chunk.size_px.prod(axis=1)), chunk.xy_px[chunk.core].shape[:2])
    area = chunk.prediction.box_px[chunk.core][..., 2:].prod(axis=-1)
    return np.where(area > 0, np.sqrt(np.where(area > 0, area, 0.0)), full)


def cell_px(chunk: Chunk) -> FloatArray:
    """(c, V) pixels of a cell when the crop has 64 × 64 of them: the unit of papers, in which near and far subjects are alike."""
    return crop_side_px(chunk) / CELLS
