"""Complete a frame while somebody labels it: from clicks in some views to the same keypoints in all others.

A keypoint clicked in one view lies somewhere on that view's ray; the model's predictions in the other views say where.  One that
was clicked in two views or more is triangulated, and the model is not asked.  What a person clicked is never replaced.

``ml_backend.labels.completion`` does the same when labels are collected, without a model and only where all clicks agree.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from label_config.values import BoolArray, FloatArray
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.geometry.view_agreement import agreement_px
from ml_backend.geometry.viewing_ray import best_on_ray
from ml_backend.labels.completion import MIN_ANGLE_DEG

#: Predictions farther from the ray's best place than so many agreement limits do not support it: a click is some pixels off, and
#: the model's points are too.
_SUPPORTS = 3.0


class CompletedFrame(NamedTuple):
    """What follows from the clicks.

    xy_px    (V, K, 2) distorted pixels, in views without a click of the keypoint; NaN = nothing follows
    sure     (V, K) share of the views that agree, of those that were asked; NaN where nothing follows
    off_px   (V, K) how far a click lies from the place of all clicks of its keypoint, NaN with fewer than two
    by_model  (K,) the place is the model's, on the ray of a single click
    """

    xy_px: FloatArray
    sure: FloatArray
    off_px: FloatArray
    by_model: BoolArray


def complete_frame(
    rig: Rig,
    clicked_px: FloatArray,
    predicted_px: FloatArray,
    asked: BoolArray,
    newest: int | None = None,
    threshold_px: float | None = None,
) -> CompletedFrame:
    """Every keypoint that the clicks fix, in the views that have no click of it.

    clicked_px, predicted_px  (V, K, 2) distorted pixels, NaN = none
    asked         (K,) keypoints to be completed from a single click as well
    newest        view of the last click, whose ray counts where the clicks' rays are too parallel; None = the first view with one
    threshold_px  see :func:`ml_backend.geometry.view_agreement.agreement_px`
    """
    clicked: BoolArray = np.asarray(np.isfinite(clicked_px).all(axis=-1))
    everything = np.where(clicked[..., None], clicked_px, predicted_px)
    limit = agreement_px(rig, everything, threshold_px)
    found = triangulate_robust(rig, clicked_px, threshold_px=limit)
    count = clicked.sum(axis=0)
    settled = found.consensus & (found.angle_deg >= MIN_ANGLE_DEG)
    xyz = np.where(settled[:, None], found.xyz_world, np.nan)
    share = np.where(settled, found.inlier.sum(axis=0) / np.maximum(count, 1), np.nan)
    # Clicks that contradict one another leave it to the person; rays that cross too flatly leave the depth open, as one does.
    open_ = asked & (count > 0) & ~settled & ((count == 1) | found.consensus)
    by_model = np.zeros(len(count), dtype=np.bool_)
    for keypoint in np.flatnonzero(open_):
        view = newest if newest is not None and clicked[newest, keypoint] else int(np.argmax(clicked[:, keypoint]))
        place = best_on_ray(rig, view, clicked_px[view, keypoint], everything[:, keypoint], limit)
        if place is None:
            continue
        supporting = place.off_px < _SUPPORTS * limit
        if supporting.any():
            xyz[keypoint], by_model[keypoint] = place.xyz_world, True
            share[keypoint] = supporting.sum() / np.isfinite(place.off_px).sum()
    xy_px = rig.project(xyz)
    given = rig.inside(xy_px) & ~clicked
    return CompletedFrame(
        np.where(given[..., None], xy_px, np.nan),
        np.where(given, share, np.nan),
        np.where(settled & clicked, found.reprojection_px, np.nan),
        by_model,
    )
