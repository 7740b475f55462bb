"""Figures in the units of published protocols: the subject's own head, torso and limbs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from label_config.values import FloatArray
from label_config.values.skeleton import Skeleton
from ml_backend.metrics.pck import Pck, Pcp, pck, pcp

#: The usual shares: PCKh@0.5, PCK@0.2 of the torso, PCP@0.5.
HEAD_ALPHA, TORSO_ALPHA, PCP_ALPHA = 0.5, 0.2, 0.5


@dataclass(frozen=True)
class ProtocolFigures:
    """Of poses in 2-D or 3-D; None where the skeleton does not name what it takes.

    head     PCK, unit = distance of the skeleton's ``head`` pair.  MPII's own PCKh takes 0.6 × the diagonal of a drawn head box
    torso    PCK, unit = distance of its ``torso`` pair
    strict, loose  PCP: both ends of a limb within the limit, or the mean of both
    """

    head: Pck | None
    torso: Pck | None
    strict: Pcp | None
    loose: Pcp | None


def span_length(poses: FloatArray, span: tuple[int, int]) -> FloatArray:
    """(...) distance of two keypoints of poses (..., K, D), NaN where one is missing."""
    return np.asarray(np.linalg.norm(poses[..., span[0], :] - poses[..., span[1], :], axis=-1))


def protocol_figures(found: FloatArray, truth: FloatArray, skeleton: Skeleton) -> ProtocolFigures:
    """Compare poses (n, K, D); a pose whose head or torso is not labelled does not count in that figure."""

    def of(span: tuple[int, int] | None, alpha: float) -> Pck | None:
        return None if span is None else pck(found, truth, span_length(truth, span), alpha)

    limbs = skeleton.limbs
    strict, loose = (pcp(found, truth, limbs, strict=rule, alpha=PCP_ALPHA) if limbs else None for rule in (True, False))
    return ProtocolFigures(of(skeleton.head, HEAD_ALPHA), of(skeleton.torso, TORSO_ALPHA), strict, loose)
