"""Quality check of human labels by geometry: the cameras vote on one another's clicks.

Needs a calibrated rig.  What all cameras agree on wrongly (left and right swapped everywhere, the wrong person) is
invisible here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from label_config.values import FloatArray
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.labels.leave_one_out import LIMIT_SIGMA, Deleted, deleted_residuals

#: Labels that are exchanged are so much more likely the other way round: e to the half of this, 3000 to 1.
SWAP_EVIDENCE = 16.0


@dataclass(frozen=True)
class Conflict:
    """One click that the other cameras contradict.

    view         position of the camera; None when the cameras disagree and none can be named (two views, or no majority)
    residual_px  distance from where the others see the point; the largest residual when ``view`` is None
    expected_px  (x, y) where the others see it, None when ``view`` is None
    witnesses    cameras that agree on another place
    certain      at least three do; two nearly always meet somewhere, so they may be the wrong ones
    """

    frame: int
    keypoint: int
    view: int | None
    residual_px: float
    expected_px: tuple[float, float] | None
    witnesses: int
    certain: bool


@dataclass(frozen=True)
class Swap:
    """Left and right of one pair exchanged in one view: mean residual as labelled and after exchanging."""

    frame: int
    view: int
    left: int
    right: int
    labelled_px: float
    swapped_px: float


def contradicted_clicks(
    rig: Rig, xy_px: FloatArray, *, threshold_px: float | None = None, found: Deleted | None = None
) -> list[Conflict]:
    """Conflicts among labels (m, V, K, 2), NaN = not labelled; the worst first.  Points seen by fewer than two views pass.

    threshold_px  distance up to which a click agrees; None = :func:`ml_backend.geometry.view_agreement.agreement_px`.  Beyond
                  it, a click is a conflict that lies farther off than labels of this project usually scatter
    found         :func:`deleted_residuals` of the same labels, where that is known already
    """
    found = found or deleted_residuals(rig, xy_px, threshold_px)
    conflicts = [
        Conflict(
            frame=int(f),
            keypoint=int(k),
            view=int(v),
            residual_px=float(found.distance_px[f, v, k]),
            expected_px=(float(found.expected_px[f, v, k, 0]), float(found.expected_px[f, v, k, 1])),
            witnesses=int(found.witnesses[f, k]),
            certain=bool(found.witnesses[f, k] >= 3),
        )
        for f, v, k in np.argwhere(found.accused)
    ]
    placed = np.isfinite(xy_px).all(axis=-1)
    undecided = np.argwhere(~found.consensus & (placed.sum(axis=1) >= 2))
    if len(undecided):
        solved = triangulate_robust(rig, xy_px[undecided[:, 0]], threshold_px=threshold_px)
        residual = np.take_along_axis(solved.reprojection_px, undecided[:, 1][:, None, None], axis=-1)[..., 0]
        worst = np.where(np.isfinite(residual), residual, -np.inf).max(axis=1)
        conflicts += [
            Conflict(int(f), int(k), None, float(px) if np.isfinite(px) else float("nan"), None, 0, False)
            for (f, k), px in zip(undecided, worst, strict=True)
        ]
    return sorted(conflicts, key=lambda c: (-np.nan_to_num(c.residual_px, nan=np.inf), c.frame, c.keypoint, c.view or 0))


def swapped_pairs(
    rig: Rig,
    xy_px: FloatArray,
    pairs: tuple[tuple[int, int], ...],
    *,
    threshold_px: float | None = None,
    found: Deleted | None = None,
) -> list[Swap]:
    """Views in which exchanging left and right makes both labels (m, V, K, 2) agree with the other cameras.

    Both must fit what the others see once exchanged, and far better than as they are: :data:`SWAP_EVIDENCE` is the difference
    of the squared distances in standard deviations, twice the logarithm of the ratio of the likelihoods.
    """
    found = found or deleted_residuals(rig, xy_px, threshold_px)
    swaps: list[Swap] = []
    for left, right in pairs:
        labelled = found.sigma[..., left] ** 2 + found.sigma[..., right] ** 2
        squared, away = [], []
        for clicked, meant in ((left, right), (right, left)):
            off = xy_px[:, :, clicked] - found.expected_px[:, :, meant]
            squared.append(np.einsum("...i,...ij,...j->...", off, found.spread[:, :, meant], off))
            away.append(np.linalg.norm(off, axis=-1))
        exchanged = np.stack(away)
        known = np.isfinite(labelled) & np.isfinite(exchanged).all(axis=0)
        fits = ((exchanged <= found.limit_px) | (np.stack(squared) <= LIMIT_SIGMA**2)).all(axis=0)
        off_px = found.distance_px[..., [left, right]]
        wrong = (off_px > found.limit_px[..., None]).any(axis=-1) & (labelled - sum(squared) > SWAP_EVIDENCE)
        for f, v in np.argwhere(known & fits & wrong):
            swaps.append(Swap(int(f), int(v), left, right, float(off_px[f, v].mean()), float(exchanged[:, f, v].mean())))
    return sorted(swaps, key=lambda s: (s.frame, s.view, s.left))
