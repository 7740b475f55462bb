"""Are the limbs as long as they should be?  Length statistics of the labelled poses as a tree of Gaussians.

The length of a limb is measured in units of the subject's size, and the size is the median of the subject's limbs relative to
their usual length: neither a single wild keypoint nor missing ones move it much.  ``log q(length) = log N(length / size; mean,
spread)`` with a spread of at least one pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.masked import masked_mean, masked_median
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.score import Chunk, Context, Labelled, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import mean_of_views, nothing
from ml_backend.geometry.cameras import Rig

#: With one limb alone its length *is* the size.
MIN_LIMBS = 2
#: Labels are never better placed than this.
SPREAD_FLOOR_PX = 1.0
#: Standard deviation of ½z² of a normal variable: labelled sets with less are small or floored.
_NLL_STD_FLOOR = float(np.sqrt(0.5))
#: Alternations between sizes and mean lengths; each step only repairs what median and mean disagree on.
_ROUNDS = 5


def limb_lengths_px(xy_px: FloatArray, limbs: IntArray) -> FloatArray:
    """(..., K, 2) → (..., L), NaN where an end is missing."""
    return np.asarray(np.linalg.norm(xy_px[..., limbs[:, 1], :] - xy_px[..., limbs[:, 0], :], axis=-1))


def subject_size_px(length_px: FloatArray, mean: FloatArray) -> FloatArray:
    """(..., L) → (...) median of length / usual length; NaN with fewer than two limbs or no extent."""
    ratio = np.divide(length_px, mean, out=np.full(length_px.shape, np.nan), where=mean > 0)
    size = masked_median(ratio)
    return np.where((np.isfinite(ratio).sum(axis=-1) >= MIN_LIMBS) & (size > 0), size, np.nan)


def log_likelihood(length_px: FloatArray, size_px: FloatArray, mean: FloatArray, spread: FloatArray) -> FloatArray:
    """log q of lengths; all arguments broadcast, NaN is passed on."""
    scaled = length_px / size_px
    sigma = np.maximum(spread, SPREAD_FLOOR_PX / size_px)
    return np.asarray(-0.5 * (((scaled - mean) / sigma) ** 2 + np.log(2 * np.pi)) - np.log(sigma))


def fit_links(labelled: Labelled, skeleton: Skeleton, min_poses: int) -> State | None:
    """Statistics of every limb for each view that has ``min_poses`` labelled poses, else of all views together.

    limbs (L, 2); mean, spread (V, L) in units of the subject's size; nll_mean, nll_std (V, L) of −log q on the labels.
    None without two limbs or without enough poses.
    """
    limbs = np.array(skeleton.limbs, dtype=np.int64).reshape(-1, 2)
    length = limb_lengths_px(labelled.xy_px, limbs)
    poses = [_usable(length[:, v]) for v in range(length.shape[1])]
    together = np.concatenate(poses) if poses else length[:, 0]
    if len(limbs) < MIN_LIMBS or len(together) < min_poses:
        return None
    fitted = [_fit_view(own if len(own) >= min_poses else together) for own in poses]
    mean, spread, nll_mean, nll_std = (np.stack(part) for part in zip(*fitted, strict=True))
    return {"limbs": limbs.astype(np.float64), "mean": mean, "spread": spread, "nll_mean": nll_mean, "nll_std": nll_std}


def _usable(length_px: FloatArray) -> FloatArray:
    return np.asarray(length_px[np.isfinite(length_px).sum(axis=1) >= MIN_LIMBS])


def usual_lengths(length_px: FloatArray) -> FloatArray:
    """(n, L) lengths of labelled limbs → (L,) mean of each in units of the subject's size; NaN for a limb never seen."""
    middle = masked_median(length_px.T)
    seen = middle > 0
    mean = np.where(seen, middle / np.sqrt(np.mean(middle**2, where=seen)) if seen.any() else np.nan, np.nan)
    for _ in range(_ROUNDS):
        mean, _ = masked_mean(length_px / subject_size_px(length_px, mean)[:, None], axis=0)
    return mean


def _fit_view(length_px: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """(n, L) → mean, spread, mean and standard deviation of −log q, each (L,); a limb never seen has NaN throughout."""
    mean = usual_lengths(length_px)
    size = subject_size_px(length_px, mean)
    spread = np.sqrt(masked_mean((length_px / size[:, None] - mean) ** 2, axis=0)[0])
    nll = -log_likelihood(length_px, size[:, None], mean, spread)
    nll_mean, _ = masked_mean(nll, axis=0)
    nll_std = np.sqrt(masked_mean((nll - nll_mean) ** 2, axis=0)[0])
    return mean, spread, nll_mean, np.maximum(nll_std, _NLL_STD_FLOOR)


def at_child(per_limb: FloatArray, limbs: IntArray, n_keypoints: int) -> FloatArray:
    """(..., L) → (..., K): a limb's value at its child, which has only one parent; NaN elsewhere."""
    result = np.full((*per_limb.shape[:-1], n_keypoints), np.nan)
    result[..., limbs[:, 1]] = per_limb
    return result


@dataclass(frozen=True)
class LinkLength:
    """Negative log-likelihood of the limb lengths, each limb standardised by the labelled poses.

    0 = as in the labels; long or ill-defined limbs weigh no more than short ones.  Counted at the child end of a limb.
    """

    min_poses: int = 10

    name: ClassVar[str] = "link_length"
    unit: ClassVar[str] = "z of −log q"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.LABELS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Shukla et al. 2022, eq. 1–3, with lengths from labels instead of an auxiliary network"

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """See :func:`fit_links`."""
        return fit_links(labelled, skeleton, self.min_poses)

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over limbs, then over views."""
        if state is None:
            return nothing(chunk)
        limbs = state["limbs"].astype(np.int64)
        xy = chunk.xy_px[chunk.core]
        length = limb_lengths_px(xy, limbs)
        size = subject_size_px(length, state["mean"])
        nll = -log_likelihood(length, size[..., None], state["mean"], state["spread"])
        return mean_of_views(at_child((nll - state["nll_mean"]) / state["nll_std"], limbs, xy.shape[2]))
