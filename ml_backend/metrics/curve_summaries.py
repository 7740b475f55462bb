"""Figures about whole learning curves and about what was selected."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import stats
from scipy.cluster.vq import kmeans2

from label_config.values import BadInputError, FloatArray, IntArray


def area_under_learning_curve(labelled_share: FloatArray, score: FloatArray) -> float:
    """ALC: trapezoid under ``score`` over the labelled share of the pool, both (r,), the share increasing in [0, 1].

    A run that stopped early keeps its last score up to share 1; the paper's curves begin at share 0, one that begins
    later is averaged over its own range.  So a constant curve has its constant as area.
    """
    share, value = np.asarray(labelled_share, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if share.shape != value.shape or share.ndim != 1 or len(share) == 0:
        raise BadInputError(f"learning curve: expected two arrays of shape (r,), r > 0, got {share.shape} and {value.shape}")
    if (np.diff(share) <= 0).any() or share[0] < 0 or share[-1] > 1:
        raise BadInputError(f"learning curve: the labelled share must increase within [0, 1], got {share.tolist()}")
    if share[-1] < 1:
        share, value = np.append(share, 1.0), np.append(value, value[-1])
    if len(share) == 1:
        return float(value[0])
    return float(np.trapezoid(value, share) / (share[-1] - share[0]))


def pose_entropy(poses: FloatArray, picked: IntArray, *, root: int, clusters: int = 10, seed: int = 0) -> float:
    """Entropy in nats of the histogram of picked frames over k-means clusters of all poses (Feng et al. 2023, ablation).

    poses (n, K, D), root-aligned before clustering, no NaN; picked (m,) positions.  At most ln(clusters) = 2.303 for
    ten; higher = more diverse.  NaN when nothing was picked.
    """
    flat = (poses - poses[:, root : root + 1]).reshape(len(poses), -1)
    if not np.isfinite(flat).all():
        raise BadInputError("pose entropy: poses must be complete; leave out frames with missing keypoints")
    if len(poses) < clusters:
        raise BadInputError(f"pose entropy: expected at least {clusters} poses for {clusters} clusters, got {len(poses)}")
    if len(picked) == 0:
        return float("nan")
    with warnings.catch_warnings(action="ignore"):  # fewer different poses than clusters: the others stay empty
        _, label = kmeans2(flat, clusters, iter=100, minit="++", rng=np.random.default_rng(seed))
    share = np.bincount(label[picked], minlength=clusters) / len(picked)
    filled = share[share > 0]
    return float(np.abs((filled * np.log(filled)).sum()))


def coverage_radius(poses: FloatArray, labelled: IntArray, *, root: int) -> float:
    """Largest distance from a pose (n, K, D) to its nearest labelled one: mean over keypoints after root alignment.

    Pairs are compared on the keypoints that both have; pairs that share none are not compared.  NaN without labels.
    """
    if len(labelled) == 0 or len(poses) == 0:
        return float("nan")
    aligned = poses - poses[:, root : root + 1]
    nearest = np.full(len(poses), np.inf)
    for position in labelled:
        distance = np.linalg.norm(aligned - aligned[position], axis=-1)
        known = np.isfinite(distance)
        count = known.sum(axis=1)
        total = np.where(known, distance, 0.0).sum(axis=1)
        nearest = np.minimum(nearest, np.divide(total, count, out=np.full(len(poses), np.inf), where=count > 0))
    reached = nearest[np.isfinite(nearest)]
    return float(reached.max()) if len(reached) else float("nan")


def spearman(score: FloatArray, error: FloatArray) -> float:
    """Rank correlation of two (n,) arrays with mid-ranks; pairs with a NaN are left out.

    NaN with fewer than three pairs or a constant side.  The cheapest health check of a score.
    """
    known = np.isfinite(score) & np.isfinite(error)
    if known.sum() < 3:
        return float("nan")
    a, b = np.asarray(score)[known], np.asarray(error)[known]
    return float(stats.spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else float("nan")
