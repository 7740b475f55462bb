"""Do the cameras face a common point?  What can be said about extrinsics without a single measurement in a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from label_config.values import FloatArray

#: Above this angle cameras do not face their common point, below the other they plainly do.
ASTRAY_DEG = 45.0
PLAIN_DEG = 30.0


def common_point(centres: FloatArray, axes: FloatArray) -> FloatArray | None:
    """Point nearest to all optical axes: centres (V, 3), unit directions (V, 3) → (3,).

    None for one camera or for axes that are nearly parallel.
    """
    if len(centres) < 2:
        return None
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    normal = across.sum(axis=0)
    if np.linalg.eigvalsh(normal)[0] < 1e-3 * len(centres):
        return None
    return np.asarray(np.linalg.solve(normal, (across @ centres[:, :, None]).sum(axis=0)[:, 0]))


def off_axis_deg(centres: FloatArray, axes: FloatArray) -> FloatArray | None:
    """(V,) angle between each optical axis and the direction to the common point; None without such a point."""
    point = common_point(centres, axes)
    if point is None:
        return None
    towards = point - centres
    distance = np.linalg.norm(towards, axis=1)
    if not (distance > 0).all():
        return None
    cosine = (towards * axes).sum(axis=1) / distance
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def stored_transposed(R: Sequence[FloatArray], t: Sequence[FloatArray], matrices: Sequence[bool]) -> bool | None:
    """Whether rotation matrices must be transposed for the cameras to face a common point.

    Cameras that face the *origin* of the world do so either way, and nothing can be said about them.

    R, t      as stored, world → camera
    matrices  which of ``R`` were stored as matrices; rotation vectors are never turned

    None when both readings or neither make sense.
    """
    turned = [matrix.T if is_matrix else matrix for matrix, is_matrix in zip(R, matrices, strict=True)]
    as_stored, if_turned = _largest_angle(R, t), _largest_angle(turned, t)
    if as_stored is None or if_turned is None:
        return None
    if as_stored > ASTRAY_DEG and if_turned < PLAIN_DEG:
        return True
    if if_turned > ASTRAY_DEG and as_stored < PLAIN_DEG:
        return False
    return None


def _largest_angle(R: Sequence[FloatArray], t: Sequence[FloatArray]) -> float | None:
    centres = np.stack([-matrix.T @ shift for matrix, shift in zip(R, t, strict=True)])
    axes = np.stack([matrix[2] for matrix in R])
    angles = off_axis_deg(centres, axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-12))
    return None if angles is None else float(angles.max())
