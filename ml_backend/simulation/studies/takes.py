"""Takes of the capture studio as recordings, several takes as one, and the camera pictures behind the network's small ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from label_config.values import FloatArray, IntArray
from ml_backend.geometry.cameras import Rig
from ml_backend.simulation.experiments.data import TrueRecording
from ml_backend.simulation.studio import CaptureStudio


def recorded(studio: CaptureStudio, number: IntArray, n_pool: int) -> TrueRecording:
    """Frames ``number`` (m,) of a take, drawn; the first ``n_pool`` of them are the pool, the others the test."""
    m = len(number)
    return TrueRecording(
        skeleton=studio.skeleton,
        pictures=tuple(np.stack([studio.render(int(i), view) for i in number]) for view in range(studio.n_views)),
        xy_px=studio.truth_xy[number],
        scale=np.ones((m, studio.n_views)),
        keys=tuple(studio.frames[i] for i in number),
        pool=np.arange(n_pool),
        test=np.arange(n_pool, m),
        rare=studio.rare[number],
        rare_share=float(studio.rare[number[n_pool:]].mean()) if m > n_pool else 0.0,
        hidden=studio.occluded[number],
        xyz=studio.truth_xyz[number],
        rig=studio.rig,
        video=True,
    )


def together(takes: Sequence[TrueRecording]) -> TrueRecording:
    """All frames of several takes as one pool.  Their cameras differ, so there is no rig and no truth in world coordinates."""
    arrays = {name: np.concatenate([getattr(take, name) for take in takes]) for name in ("xy_px", "scale", "rare", "hidden")}
    views = range(len(takes[0].pictures))
    return replace(
        takes[0],
        pictures=tuple(np.concatenate([take.pictures[view] for take in takes]) for view in views),
        keys=tuple(key for take in takes for key in take.keys),
        pool=np.arange(len(arrays["xy_px"])),
        test=np.zeros(0, dtype=np.int64),
        rare_share=0.0,
        xyz=None,
        rig=None,
        video=False,
        **arrays,
    )


def enlarged(rig: Rig, factor: int) -> Rig:
    """The cameras of pictures ``factor`` times as large."""
    return Rig(tuple(c.resized((factor * c.size_px[0], factor * c.size_px[1])) for c in rig.cameras), rig.unit)


def enlarged_px(xy_px: FloatArray, factor: int) -> FloatArray:
    """Points in a picture ``factor`` times as large: the corners of the pictures coincide, not their pixel centres."""
    return factor * (xy_px + 0.5) - 0.5


def reduced_px(xy_px: FloatArray, factor: int) -> FloatArray:
    """Inverse of :func:`enlarged_px`."""
    return (xy_px + 0.5) / factor - 0.5
