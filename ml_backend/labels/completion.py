"""Points that people left open or overlooked, told by the same keypoint in other views.

Two cameras in which a person put a keypoint say where it is in space, and so where every other calibrated camera sees it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from label_config.values import BoolArray, FloatArray
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust

#: A keypoint is told to other views only where its rays cross at this angle or more …
MIN_ANGLE_DEG = 10.0
#: … and every given point lies this near to the projection of the common one: a share of the subject's size, but at least pixels.
MAX_RESIDUAL, MAX_RESIDUAL_PX = 0.02, 3.0


class Completion(NamedTuple):
    """xyz_world (m, K, 3) of the given points, NaN = not known; xy_px (m, V, K, 2) with the filled ones; filled (m, V, K)."""

    xyz_world: FloatArray
    xy_px: FloatArray
    filled: BoolArray


def complete(rig: Rig, xy_px: FloatArray, given: BoolArray, wanted: BoolArray) -> Completion:
    """Fill the ``wanted`` points (m, V, K) from those ``given`` (m, V, K) wherever these leave no doubt.

    xy_px  (m, V, K, 2) distorted image pixels.  Points that are neither given nor filled come back as they were.
    """
    found = triangulate_robust(rig, xy_px, valid=given)
    projected = rig.project(found.xyz_world)
    near = np.where(given, found.reprojection_px <= _limit_px(xy_px, given)[..., None], True).all(axis=1)
    sure = found.consensus & (found.angle_deg >= MIN_ANGLE_DEG) & near
    filled = np.asarray(wanted & sure[:, None, :] & rig.inside(projected))
    return Completion(found.xyz_world, np.where(filled[..., None], projected, xy_px), filled)


def overlooked(rig: Rig, xy_px: FloatArray, placed: BoolArray, accepted: BoolArray) -> BoolArray:
    """(m, V, K) accepted points that a person's own points in two or more other views contradict.

    placed, accepted  (m, V, K) points that a person put or moved there, and those shown to them that they left alone

    Whoever corrects a keypoint in two cameras has said where it is; that the same mistake stands untouched in a third one is an
    oversight.  Nothing is overlooked where the placed points themselves do not agree.
    """
    told = complete(rig, xy_px, placed, accepted)
    distance = np.linalg.norm(told.xy_px - xy_px, axis=-1)
    return np.asarray(told.filled & (distance > _limit_px(xy_px, placed | accepted)[..., None]))


def _limit_px(xy_px: FloatArray, known: BoolArray) -> FloatArray:
    """(m, V) how far apart two accounts of one point may be."""
    low = np.where(known[..., None], xy_px, np.inf).min(axis=2)
    high = np.where(known[..., None], xy_px, -np.inf).max(axis=2)
    some = np.asarray(known.any(axis=2))[..., None]
    size = np.linalg.norm(np.where(some, high, 0.0) - np.where(some, low, 0.0), axis=-1)
    return np.asarray(np.maximum(MAX_RESIDUAL_PX, MAX_RESIDUAL * size))
