"""Limbs of labelled frames whose length in 3-D is not the subject's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from label_config.values import FloatArray
from label_config.values.masked import median_of

#: So many frames of a limb before its usual length is known.
ENOUGH_FRAMES = 20
#: A limb is odd when it differs from the median by this share of it, and by so many standard deviations of the limb.
SHARE, SIGMAS = 0.3, 5.0


class OddLimb(NamedTuple):
    """Position of a frame and of a limb, its length there, and its median length, in the unit of the calibration."""

    frame: int
    limb: int
    length: float
    usual: float


def odd_limbs(xyz_world: FloatArray, limbs: tuple[tuple[int, int], ...]) -> list[OddLimb]:
    """Those of points (m, K, 3), NaN = not known, the farthest off first."""
    found = []
    for position, (a, b) in enumerate(limbs):
        length = np.linalg.norm(xyz_world[:, a] - xyz_world[:, b], axis=-1)
        if np.isfinite(length).sum() < ENOUGH_FRAMES:
            continue
        usual = median_of(length)
        off = np.abs(length - usual)
        allowed = max(SHARE * usual, SIGMAS * 1.4826 * median_of(off))
        with np.errstate(invalid="ignore"):
            found += [OddLimb(int(f), position, float(length[f]), usual) for f in np.flatnonzero(off > allowed)]
    return sorted(found, key=lambda odd: -abs(odd.length - odd.usual) / max(odd.usual, 1e-9))
