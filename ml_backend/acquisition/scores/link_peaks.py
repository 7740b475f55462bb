"""Limb lengths over *all* local maxima of the heatmaps: expected log-likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.masked import masked_mean
from label_config.values.prediction import Output
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.score import Chunk, Context, Labelled, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import NothingToLearn, cell_px, mean_of_views, nothing
from ml_backend.acquisition.scores.confidence import PeakNorm, entropy, peak_probability
from ml_backend.acquisition.scores.links import at_child, fit_links, limb_lengths_px, log_likelihood, subject_size_px
from ml_backend.geometry.cameras import Rig

#: Ends of a limb whose maxima are weighted by their probability.
Weighted = Literal["both", "parent", "child"]


@dataclass(frozen=True)
class Links:
    """How long limbs should be in each of n frames.

    limbs         (L, 2) parent and child
    mean, spread  (n, V, L) or (1, V, L), in units of ``size_px``; NaN = not known
    size_px       (n, V) size of the subject, NaN = not known
    """

    limbs: IntArray
    mean: FloatArray
    spread: FloatArray
    size_px: FloatArray


def labelled_links(peak_xy_px: FloatArray, state: State) -> Links:
    """By the statistics of labels; the size is that of the strongest maxima (n, V, K, M, 2)."""
    limbs = state["limbs"].astype(np.int64)
    size = subject_size_px(limb_lengths_px(peak_xy_px[..., 0, :], limbs), state["mean"])
    return Links(limbs, state["mean"][None], state["spread"][None], size)


def predicted_links(links: FloatArray, skeleton: Skeleton) -> Links:
    """By an auxiliary network, ``Chunk.links`` (n, V, L, 2); the size is the mean of its lengths."""
    length, spread = links[..., 0], np.exp(0.5 * links[..., 1])
    mean, _ = masked_mean(length, axis=2)
    size = np.where(mean > 0, mean, np.nan)
    return Links(
        np.array(skeleton.limbs, dtype=np.int64).reshape(-1, 2), length / size[..., None], spread / size[..., None], size
    )


def pair_log_likelihood(peak_xy_px: FloatArray, links: Links, limb: int) -> FloatArray:
    """log q of one limb for every pair of maxima (n, V, K, M, 2), NaN = no peak.

    Returns (n, V, M, M), parent's maxima first; NaN where one of the two is missing.
    """
    parent, child = links.limbs[limb]
    difference = peak_xy_px[:, :, parent, :, None, :] - peak_xy_px[:, :, child, None, :, :]
    mean, spread = links.mean[:, :, limb, None, None], links.spread[:, :, limb, None, None]
    return log_likelihood(np.linalg.norm(difference, axis=-1), links.size_px[..., None, None], mean, spread)


def expected_log_likelihood(
    peak_xy_px: FloatArray,
    peak_value: FloatArray,
    links: Links,
    norm: PeakNorm,
    weighted: Weighted = "both",
    sizes: FloatArray | None = None,
) -> FloatArray:
    """``Σ_ab p_a p_b log q(a, b)`` of every limb, (n, V, L); NaN where the limb has no value.

    weighted  the ends whose maxima are weighted by their probability; those of the other end count 1 each
    sizes     (n, V) the subject's size in the unit of length of the density; None = 1, lengths are in units of the size
    """
    probability = peak_probability(peak_value, norm)
    one = np.ones_like(probability)
    of_parent, of_child = (probability if weighted in ("both", end) else one for end in ("parent", "child"))
    result = np.full((*peak_xy_px.shape[:2], len(links.limbs)), np.nan)
    for limb, (parent, child) in enumerate(links.limbs):
        logq = pair_log_likelihood(peak_xy_px, links, limb)
        if sizes is not None:
            logq = logq - np.log(sizes)[..., None, None]
        pairs = np.isfinite(logq)
        total = np.einsum(
            "nva,nvb,nvab->nv", of_parent[:, :, parent], of_child[:, :, child], np.where(pairs, logq, 0.0), optimize=True
        )
        result[..., limb] = np.where(pairs.any(axis=(-1, -2)), total, np.nan)
    return result


@dataclass(frozen=True)
class LinkLikelihood:
    """Minus the expected log-likelihood of the limb lengths, ``Σ_ab p_a p_b log q(a, b)`` over the maxima of both ends.

    ``fixed`` standardises each limb by the labelled poses and takes the mean; ``paper`` sums the plain values.  Lengths come
    from labels, not from an auxiliary network.  Say how sharp the maxima themselves are with the score ``mpe``.
    """

    norm: PeakNorm = "l1"
    mode: Literal["fixed", "paper"] = "fixed"
    min_poses: int = 10

    name: ClassVar[str] = "link_likelihood"
    requires: ClassVar[frozenset[Need]] = frozenset({Output.PEAKS, Context.LABELS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Shukla et al. 2022, eq. 3"

    @property
    def unit(self) -> str:
        """Standardised by default."""
        return "nat" if self.mode == "paper" else "z of −log q"

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """See :func:`~ml_backend.acquisition.scores.links.fit_links`."""
        return fit_links(labelled, skeleton, self.min_poses)

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """A limb with an end that has no peak is left out."""
        if state is None or Output.PEAKS not in chunk.outputs:
            return nothing(chunk)
        peaks = chunk.outputs[Output.PEAKS][chunk.core]
        xy, value = peaks[..., :2], peaks[..., 2]
        links = labelled_links(xy, state)
        expected = expected_log_likelihood(xy, value, links, self.norm)
        if self.mode == "fixed":
            expected = (-expected - state["nll_mean"]) / state["nll_std"]
            return mean_of_views(at_child(expected, links.limbs, xy.shape[2]))
        return mean_of_views(at_child(-expected, links.limbs, xy.shape[2]), sum_keypoints=True)


@dataclass(frozen=True)
class VL4Pose(NothingToLearn):
    """Minus the expected log-likelihood of the limb lengths that an auxiliary network expects in this very picture.

    ``fixed`` measures lengths in units of the picture's mean expected one and takes the mean over limbs.  ``paper`` measures in
    cells of a crop of 64 × 64, sums, and adds the root's own term, minus the expected log-probability of its maxima.  Near
    subjects weigh no more than far ones in either.  ``weighted`` says whose maxima are weighted: those of both ends, which is the
    expectation, or of one end alone.
    """

    norm: PeakNorm = "l1"
    mode: Literal["fixed", "paper"] = "fixed"
    weighted: Weighted = "both"

    name: ClassVar[str] = "vl4pose"
    unit: ClassVar[str] = "nat"
    requires: ClassVar[frozenset[Need]] = frozenset({Output.PEAKS, Output.LINKS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Shukla et al. 2022, eq. 1–3"

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """A limb with an end that has no peak is left out."""
        if Output.LINKS not in chunk.outputs or chunk.skeleton is None or Output.PEAKS not in chunk.outputs:
            return nothing(chunk)
        peaks = chunk.outputs[Output.PEAKS][chunk.core]
        xy, value = peaks[..., :2], peaks[..., 2]
        links = predicted_links(chunk.outputs[Output.LINKS][chunk.core], chunk.skeleton)
        sizes = links.size_px / cell_px(chunk) if self.mode == "paper" else None
        expected = expected_log_likelihood(xy, value, links, self.norm, self.weighted, sizes)
        uncertainty = at_child(-expected, links.limbs, xy.shape[2])
        if self.mode == "paper":
            roots = [k for k in np.unique(links.limbs[:, 0]) if k not in links.limbs[:, 1]]
            own = entropy(peak_probability(value[:, :, roots], self.norm))
            uncertainty[:, :, roots] = np.where(np.isfinite(value[:, :, roots]).any(axis=-1), own, np.nan)
        return mean_of_views(uncertainty, sum_keypoints=self.mode == "paper")
