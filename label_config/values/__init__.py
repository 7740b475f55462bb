"""The values that travel between the rooms of Parallax.

Every array is documented with its shape, unit, frame of reference and the meaning of NaN.
Letters used throughout the code base: ``n`` frames, ``V`` views, ``K`` keypoints.
Image coordinates are original-image pixels with the origin at the *centre* of the top-left pixel,
x to the right, y down.  World coordinates are in the unit of the calibration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values.errors import BadInputError as BadInputError
from label_config.values.errors import ParallaxError as ParallaxError

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]

#: x, y, width, height in pixels; x and y of the left and upper edge, so that a whole picture is (0, 0, width, height).
Box = tuple[float, float, float, float]

#: The subject that is meant wherever a picture shows only one.
DEFAULT_SUBJECT = 0


class PointState(IntEnum):
    """What a person said about one keypoint in one picture."""

    UNLABELLED = 0  #: nobody said anything: weight 0 in training, never a negative example
    VISIBLE = 1
    OCCLUDED = 2  #: hidden, but placed where it must be
    ABSENT = 3  #: marked as not in the picture; has no coordinates


class Provenance(IntEnum):
    """Where the coordinates of one keypoint came from."""

    NONE = 0
    PLACED = 1  #: put or moved by a person
    ACCEPTED = 2  #: shown to a person, untouched and submitted
    GEOMETRY = 3  #: triangulated from a person's points in other views
    PSEUDO = 4  #: accepted by self-training
    PREDICTED = 5  #: straight from a network


@dataclass(frozen=True, order=True)
class FrameKey:
    """One instant of one recording: all cameras together."""

    sequence: str
    index: int

    def __str__(self) -> str:
        return f"{self.sequence}/{self.index:06d}"

    @classmethod
    def parse(cls, text: str) -> FrameKey:
        """Inverse of ``str(key)``.  Raises BadInputError for anything else."""
        match = re.fullmatch(r"(.+)/([0-9]+)", text)
        if match is None:
            raise BadInputError(f"frame key: expected 'sequence/index' such as 'trial1/000412', got {text!r}")
        return cls(match.group(1), int(match.group(2)))


@dataclass(frozen=True)
class ImageRef:
    """Where the pixels of one view of one frame are.

    source       path or URL of a video or a picture
    frame_index  index in decode order when ``source`` is a video, else None
    time_s       time of the picture in seconds on the view's own clock, else None
    crop         (x, y, width, height) in pixels of the source picture that this view occupies (mirror rigs), else None
    flip         mirrored left to right after cropping and turning
    size_px      (width, height) of the view, None until known
    rotation     clockwise rotation in degrees (0, 90, 180, 270) after cropping
    """

    source: str
    frame_index: int | None = None
    time_s: float | None = None
    crop: tuple[int, int, int, int] | None = None
    flip: bool = False
    size_px: tuple[int, int] | None = None
    rotation: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value without the fields that hold their default."""
        full = {
            "source": self.source,
            "frame_index": self.frame_index,
            "time_s": self.time_s,
            "crop": list(self.crop) if self.crop else None,
            "flip": self.flip or None,
            "size_px": list(self.size_px) if self.size_px else None,
            "rotation": self.rotation or None,
        }
        return {name: value for name, value in full.items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ImageRef:
        """Inverse of :meth:`to_json`."""
        crop, size = data.get("crop"), data.get("size_px")
        return cls(
            source=data["source"],
            frame_index=data.get("frame_index"),
            time_s=data.get("time_s"),
            crop=(crop[0], crop[1], crop[2], crop[3]) if crop else None,
            flip=bool(data.get("flip", False)),
            size_px=(size[0], size[1]) if size else None,
            rotation=int(data.get("rotation", 0)),
        )


@dataclass(frozen=True)
class Frame:
    """One instant with the picture of every camera that has one.  A missing view is simply not in ``images``."""

    key: FrameKey
    images: Mapping[str, ImageRef]


def _nullable(array: FloatArray, digits: int) -> Any:
    rounded = np.round(array, digits)
    values = rounded.astype(object)
    values[~np.isfinite(rounded)] = None
    return values.tolist()


def _expect(name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise BadInputError(f"{name}: expected shape {shape}, got {array.shape}")


@dataclass(frozen=True)
class Pose2D:
    """Keypoints of one subject in all views of one frame.

    xy_px       (V, K, 2) float64, image pixels; NaN = no coordinates
    confidence  (V, K) float64 in [0, 1]; NaN = not known (a person's point has 1)
    state       (V, K) int64, PointState
    provenance  (V, K) int64, Provenance
    """

    xy_px: FloatArray
    confidence: FloatArray
    state: IntArray
    provenance: IntArray

    def __post_init__(self) -> None:
        if self.xy_px.ndim != 3 or self.xy_px.shape[2] != 2:
            raise BadInputError(f"Pose2D.xy_px: expected shape (V, K, 2), got {self.xy_px.shape}")
        shape = self.xy_px.shape[:2]
        _expect("Pose2D.confidence", self.confidence, shape)
        _expect("Pose2D.state", self.state, shape)
        _expect("Pose2D.provenance", self.provenance, shape)

    @classmethod
    def empty(cls, n_views: int, n_keypoints: int) -> Pose2D:
        """A pose about which nothing is known."""
        shape = (n_views, n_keypoints)
        return cls(
            xy_px=np.full((*shape, 2), np.nan),
            confidence=np.full(shape, np.nan),
            state=np.full(shape, PointState.UNLABELLED, dtype=np.int64),
            provenance=np.full(shape, Provenance.NONE, dtype=np.int64),
        )

    def of_view(self, view: int) -> Pose2D:
        """The same subject in one view alone (V = 1), as a task shows it that holds one camera's picture."""
        one = slice(view, view + 1)
        return Pose2D(self.xy_px[one], self.confidence[one], self.state[one], self.provenance[one])

    def in_views(self, n_views: int, view: int) -> Pose2D:
        """Inverse of :meth:`of_view`: a pose of ``n_views`` views that is empty but for this one."""
        full = Pose2D.empty(n_views, self.state.shape[1])
        for name in ("xy_px", "confidence", "state", "provenance"):
            getattr(full, name)[view] = getattr(self, name)[0]
        return full

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value; NaN becomes null, pixels are rounded to 1/1000."""
        return {
            "xy_px": _nullable(self.xy_px, 3),
            "confidence": _nullable(self.confidence, 4),
            "state": self.state.tolist(),
            "provenance": self.provenance.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Pose2D:
        """Inverse of :meth:`to_json`."""
        return cls(
            xy_px=np.array(data["xy_px"], dtype=np.float64),
            confidence=np.array(data["confidence"], dtype=np.float64),
            state=np.array(data["state"], dtype=np.int64),
            provenance=np.array(data["provenance"], dtype=np.int64),
        )

    @property
    def placed(self) -> BoolArray:
        """(V, K) True where the point has finite coordinates."""
        return np.asarray(np.isfinite(self.xy_px).all(axis=-1))


@dataclass(frozen=True)
class Triangulation:
    """3-D points, in world coordinates, from points in views; every array may carry the same leading batch axes ``...``.

    xyz_world        (..., K, 3) world units; NaN where fewer than two views see the point
    inlier           (..., V, K) bool, the view agrees with ``xyz_world``
    reprojection_px  (..., V, K) distance in (distorted) image pixels for every view that has a point, inlier or not; else NaN.
                     The diagonal of the picture where the view cannot have seen it there at all (behind the camera …).
    covariance       (..., K, 3, 3) world units squared, for one pixel of noise; NaN without a point
    angle_deg        (..., K) largest angle between two inlier rays; NaN without a point
    consensus        (..., K) bool, a robust consensus was found (False: all-view least squares or nothing)
    """

    xyz_world: FloatArray
    inlier: BoolArray
    reprojection_px: FloatArray
    covariance: FloatArray
    angle_deg: FloatArray
    consensus: BoolArray


@dataclass(frozen=True)
class TrainingTarget:
    """What one picture asks of the network for one subject.

    xy_px   (K, 2) image pixels; NaN where weight is 0
    weight  (K,) loss weight, 0 = say nothing about this keypoint
    """

    image: ImageRef
    xy_px: FloatArray
    weight: FloatArray
    box_px: Box | None = None  #: where prediction looks too, None = not known
    key: FrameKey | None = None
    view: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
