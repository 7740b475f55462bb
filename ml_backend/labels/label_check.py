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
from ml_backend.geometry.view_agreement import agreement_px


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


def contradicted_clicks(rig: Rig, xy_px: FloatArray, *, threshold_px: float | None = None) -> list[Conflict]:
    """Conflicts among labels (m, V, K, 2), NaN = not labelled; the worst first.  Points seen by fewer than two views pass.

    threshold_px  distance up to which a click agrees; None = :func:`ml_backend.geometry.view_agreement.agreement_px`
    """
    solved = triangulate_robust(rig, xy_px, threshold_px=threshold_px)
    placed = np.isfinite(xy_px).all(axis=-1)
    witnesses = (solved.inlier & placed).sum(axis=1)
    accused = placed & ~solved.inlier & solved.consensus[:, None]
    expected = rig.project(solved.xyz_world)
    conflicts = [
        Conflict(
            frame=int(f),
            keypoint=int(k),
            view=int(v),
            residual_px=float(solved.reprojection_px[f, v, k]),
            expected_px=(float(expected[f, v, k, 0]), float(expected[f, v, k, 1])),
            witnesses=int(witnesses[f, k]),
            certain=bool(witnesses[f, k] >= 3),
        )
        for f, v, k in np.argwhere(accused)
    ]
    undecided = ~solved.consensus & (placed.sum(axis=1) >= 2)
    worst = np.where(placed & np.isfinite(solved.reprojection_px), solved.reprojection_px, -np.inf).max(axis=1)
    conflicts += [
        Conflict(int(f), int(k), None, float(worst[f, k]) if np.isfinite(worst[f, k]) else float("nan"), None, 0, False)
        for f, k in np.argwhere(undecided)
    ]
    return sorted(conflicts, key=lambda c: (-np.nan_to_num(c.residual_px, nan=np.inf), c.frame, c.keypoint, c.view or 0))


def swapped_pairs(
    rig: Rig, xy_px: FloatArray, pairs: tuple[tuple[int, int], ...], *, threshold_px: float | None = None
) -> list[Swap]:
    """Views in which exchanging left and right makes both labels (m, V, K, 2) agree with the other cameras.

    Both clicks must contradict the consensus of the others as they are, and both must fit it once exchanged.
    """
    solved = triangulate_robust(rig, xy_px, threshold_px=threshold_px)
    expected = rig.project(solved.xyz_world)
    accused = np.isfinite(xy_px).all(axis=-1) & ~solved.inlier & solved.consensus[:, None]
    limit = agreement_px(rig, xy_px, threshold_px)
    found: list[Swap] = []
    for left, right in pairs:
        exchanged = np.stack([_distance(xy_px, left, expected, right), _distance(xy_px, right, expected, left)])
        labelled = solved.reprojection_px[:, :, [left, right]].mean(axis=-1)
        swap = accused[:, :, left] & accused[:, :, right] & (exchanged <= limit).all(axis=0)
        for f, v in np.argwhere(swap):
            found.append(Swap(int(f), int(v), left, right, float(labelled[f, v]), float(exchanged[:, f, v].mean())))
    return sorted(found, key=lambda s: (s.frame, s.view, s.left))


def _distance(xy_px: FloatArray, clicked: int, expected: FloatArray, meant: int) -> FloatArray:
    """(m, V) distance of one keypoint's click from where another keypoint is expected; inf where either is missing."""
    distance = np.linalg.norm(xy_px[:, :, clicked] - expected[:, :, meant], axis=-1)
    return np.where(np.isfinite(distance), distance, np.inf)
