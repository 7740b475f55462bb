"""Find points that annotators left open or overlooked, from the same keypoint in other views.

A keypoint that an annotator placed in two cameras has a place in world coordinates, and so in every other calibrated camera.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from label_config.values import BoolArray, FloatArray
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.geometry.view_agreement import agreement_px

#: A keypoint is filled in other views only where its rays cross at this angle or more.
MIN_ANGLE_DEG = 10.0


class Completion(NamedTuple):
    """xyz_world (m, K, 3) of the given points, NaN = not known; xy_px (m, V, K, 2) with the filled ones; filled (m, V, K)."""

    xyz_world: FloatArray
    xy_px: FloatArray
    filled: BoolArray


def complete(rig: Rig, xy_px: FloatArray, given: BoolArray, wanted: BoolArray, threshold_px: float | None = None) -> Completion:
    """Fill the ``wanted`` points (m, V, K) from those ``given`` (m, V, K) wherever all of these agree.

    xy_px         (m, V, K, 2) distorted image pixels.  Points that are neither given nor filled come back as they were.
    threshold_px  see :func:`ml_backend.geometry.view_agreement.agreement_px`
    """
    points = triangulate_robust(rig, xy_px, valid=given, threshold_px=threshold_px)
    projected = rig.project(points.xyz_world)
    sure = points.consensus & (points.angle_deg >= MIN_ANGLE_DEG) & (points.inlier | ~given).all(axis=1)
    filled = np.asarray(wanted & sure[:, None, :] & rig.inside(projected))
    return Completion(points.xyz_world, np.where(filled[..., None], projected, xy_px), filled)


def overlooked(
    rig: Rig, xy_px: FloatArray, placed: BoolArray, accepted: BoolArray, threshold_px: float | None = None
) -> BoolArray:
    """(m, V, K) accepted points that an annotator's own points in two or more other views contradict.

    placed, accepted  (m, V, K) points that an annotator placed or moved, and pre-annotations that the annotator left unchanged

    An annotator who corrects a keypoint in two cameras has fixed its place in 3-D; the same mistake left unchanged in a third
    camera is an oversight.  Nothing is overlooked where the placed points themselves do not agree.
    """
    expected = complete(rig, xy_px, placed, accepted, threshold_px)
    distance = np.linalg.norm(expected.xy_px - xy_px, axis=-1)
    limit = agreement_px(rig, np.where((placed | accepted)[..., None], xy_px, np.nan), threshold_px)
    return np.asarray(expected.filled & (distance > limit[..., None]))
