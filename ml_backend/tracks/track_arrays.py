"""The tracks of one recording: every keypoint, in every camera, at every instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import FloatArray, IntArray, Triangulation
from label_config.values.skeleton import Skeleton
from ml_backend.geometry.cameras import Rig
from ml_backend.recordings import ViewTransform


class PictureState(IntEnum):
    """What became of a camera's picture of an instant."""

    PREDICTED = 0
    NONE = 1  #: the camera has no picture then: it was slower, began later or ended earlier
    UNREADABLE = 2  #: it has one that cannot be decoded


@dataclass(frozen=True)
class Tracks:
    """n instants, V cameras, K keypoints; NaN = no point.

    views       (V,) names;  sources  (V,) files
    index       (n,) numbers of the instants in the recording
    frame_of    (n, V) number of the picture in its video, of pictures of a folder the instant's; −1 without a picture
    n_frames    (V,) frames of each video, or instants
    times_s     (n,) seconds on the recording's clock, None = not known;  fps  None = not known
    xy_px       (n, V, K, 2) pixels of the view's picture
    confidence  (n, V, K) in [0, 1]
    state       (n, V) PictureState
    transforms  (V,) what makes the view's picture of the source's
    world       3-D in the rig's unit, None without a rig of two cameras or more
    """

    sequence: str
    skeleton: Skeleton
    views: tuple[str, ...]
    sources: tuple[str, ...]
    index: IntArray
    frame_of: IntArray
    n_frames: tuple[int, ...]
    times_s: FloatArray | None
    fps: float | None
    xy_px: FloatArray
    confidence: FloatArray
    state: IntArray
    transforms: tuple[ViewTransform, ...]
    rig: Rig | None = None
    world: Triangulation | None = None

    def __len__(self) -> int:
        return len(self.index)

    def source_px(self, view: int, xy_px: FloatArray | None = None) -> FloatArray:
        """(n, K, 2) points of a view, these or its own, in pixels of the source picture, before crop, rotation and flip."""
        return self.transforms[view].to_source(self.xy_px[:, view] if xy_px is None else xy_px)

    @property
    def residual_px(self) -> FloatArray:
        """(n, K) mean distance of the agreeing cameras' points from where they see the place in 3-D; NaN without one."""
        assert self.world is not None
        known = self.world.inlier & np.isfinite(self.world.reprojection_px)
        count = known.sum(axis=1)
        total = np.where(known, self.world.reprojection_px, 0.0).sum(axis=1)
        return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))

    @property
    def n_agreeing(self) -> IntArray:
        """(n, K) cameras that agree on the place in 3-D."""
        assert self.world is not None
        return np.asarray(self.world.inlier.sum(axis=1), dtype=np.int64)


_WORLD = ("xyz_world", "inlier", "reprojection_px", "covariance", "angle_deg", "consensus")


def arrays_of(xy_px: FloatArray, confidence: FloatArray, state: IntArray, world: Triangulation | None) -> dict[str, Any]:
    """What a run of instants is stored as."""
    plain: dict[str, Any] = {"xy_px": xy_px, "confidence": confidence.astype(np.float32), "state": state.astype(np.int8)}
    return plain | ({} if world is None else {name: getattr(world, name) for name in _WORLD})


def world_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Triangulation | None:
    """The triangulation among the arrays of :func:`arrays_of`."""
    return Triangulation(**{name: arrays[name] for name in _WORLD}) if "xyz_world" in arrays else None
