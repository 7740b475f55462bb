"""Places in the world that several subjects of a frame claim: one of them, or each, was seen where another one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from label_config.values import FloatArray, Triangulation
from label_config.values.masked import masked_median

#: The same keypoint of two subjects nearer than this, in sizes of a subject, is taken to be one and the same.
NEAR = 0.1


def without_shared_places(subjects: Sequence[Triangulation]) -> list[Triangulation]:
    """The triangulations, batch axes (n,) each, of the subjects of n frames; a place that two of them claim is no consensus."""
    if len(subjects) < 2:
        return list(subjects)
    xyz = np.stack([one.xyz_world for one in subjects])
    apart = np.linalg.norm(xyz[:, None] - xyz[None], axis=-1)  # (S, S, n, K)
    near = apart < NEAR * _size_world(xyz)
    near[np.arange(len(subjects)), np.arange(len(subjects))] = False
    shared = near.any(axis=1)
    return [replace(one, consensus=one.consensus & ~of) for one, of in zip(subjects, shared, strict=True)]


def _size_world(xyz_world: FloatArray) -> float:
    """Median over all poses (..., K, 3) of the diagonal of the box around one; NaN = no pose."""
    known = np.asarray(np.isfinite(xyz_world).all(axis=-1, keepdims=True))
    extent = np.where(known, xyz_world, -np.inf).max(axis=-2) - np.where(known, xyz_world, np.inf).min(axis=-2)
    return float(masked_median(np.linalg.norm(np.where(known.any(axis=-2), extent, np.nan), axis=-1).ravel()))
