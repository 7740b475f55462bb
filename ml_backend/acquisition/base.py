"""The interface on which every acquisition score hangs.

A score is one small module.  It states what it needs (``requires``), learns what it can from the labelled
frames (``fit``, stored with the model version) and judges a run of frames (``score``).  Scores do no I/O and
keep no global state.  Higher always means "label first".  A frame without one valid term has ``raw`` NaN and
``support`` 0, never a silent zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from label_config.skeleton import Skeleton
from label_config.values import BadInputError, BoolArray, Float32Array, FloatArray, IntArray, Triangulation
from ml_backend.geometry.cameras import Rig

#: What ``fit`` hands to ``score``: plain arrays that can be stored beside the model's weights.
State = Mapping[str, FloatArray]


class Input(StrEnum):
    """What a score may need."""

    POINTS = "points"
    PEAKS = "peaks"
    HEATMAPS = "heatmaps"
    FEATURES = "features"
    VIEWS = "views"
    RIG = "rig"
    NEIGHBOURS = "neighbours"
    LABELS = "labels"
    ENSEMBLE = "ensemble"
    LINKS = "links"
    VARIANCE = "variance"
    LEARNING_LOSS = "learning_loss"


@dataclass(frozen=True)
class Chunk:
    """A run of frames of one sequence in temporal order, with context frames on either side.

    ``n`` counts all frames, context included; ``core`` are the frames that are to be scored.

    index         (n,) frame numbers, strictly increasing
    core          slice of 0..n
    xy_px         (n, V, K, 2) image pixels, NaN = no prediction
    confidence    (n, V, K) in [0, 1], NaN = no prediction
    box_px        (n, V, 4) x, y, width, height of the crop that the network saw; NaN = whole picture; None = not stored
    triangulated  batch axes (n,), None without a rig
    peak_xy_px    (n, V, K, M, 2) local maxima, strongest first, NaN-padded; None = not stored
    peak_value    (n, V, K, M) heatmap value of each, NaN-padded
    heatmaps      (n, V, K, h, w) network output at unit training amplitude, None = not stored
    features      (n, V, D) or (n, D) embedding, None = not stored
    ensemble_xy_px (E, n, V, K, 2) predictions of E models, None = not available
    links         (n, V, L, 2) expected length of each limb of ``skeleton``, image pixels, and the logarithm of its variance,
                  image pixels squared; NaN = no prediction; None = the network does not tell
    log_variance  (n, V, K) logarithm of the expected squared error of each point, image pixels squared; likewise
    learning_loss (n, V) expected loss of each picture, only differences mean something; likewise
    gap           (n,) True where the frame does not follow its predecessor in this array (missing frames, scene cut)
    size_px       (V, 2) width and height of the pictures
    """

    sequence: str
    index: IntArray
    core: slice
    xy_px: FloatArray
    confidence: FloatArray
    size_px: FloatArray
    box_px: FloatArray | None = None
    triangulated: Triangulation | None = None
    peak_xy_px: FloatArray | None = None
    peak_value: FloatArray | None = None
    heatmaps: Float32Array | None = None
    features: Float32Array | None = None
    ensemble_xy_px: FloatArray | None = None
    links: FloatArray | None = None
    log_variance: FloatArray | None = None
    learning_loss: FloatArray | None = None
    gap: BoolArray | None = None
    rig: Rig | None = None
    skeleton: Skeleton | None = None

    def __post_init__(self) -> None:
        if self.xy_px.ndim != 4 or self.xy_px.shape[3] != 2:
            raise BadInputError(f"Chunk.xy_px: expected shape (n, V, K, 2), got {self.xy_px.shape}")
        n, views, keypoints = self.xy_px.shape[:3]
        expected = {"index": (n,), "confidence": (n, views, keypoints), "size_px": (views, 2)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise BadInputError(f"Chunk.{name}: expected shape {shape}, got {getattr(self, name).shape}")
        for name in ("xy_px", "confidence"):
            if np.isinf(getattr(self, name)).any():
                raise BadInputError(f"Chunk.{name} of {self.sequence!r}: expected finite numbers or NaN, got infinity")
        if n > 1 and not (np.diff(self.index) > 0).all():
            raise BadInputError(f"Chunk.index of {self.sequence!r}: frame numbers must increase strictly")

    @property
    def available(self) -> frozenset[Input]:
        """The inputs that this chunk carries (LABELS is a matter of ``fit``)."""
        held = {Input.POINTS}
        if self.xy_px.shape[1] > 1:
            held.add(Input.VIEWS)
        if self.gap is None or not self.gap.all():
            held.add(Input.NEIGHBOURS)
        optional = {
            Input.RIG: self.triangulated,
            Input.PEAKS: self.peak_xy_px,
            Input.HEATMAPS: self.heatmaps,
            Input.FEATURES: self.features,
            Input.ENSEMBLE: self.ensemble_xy_px,
            Input.LINKS: self.links,
            Input.VARIANCE: self.log_variance,
            Input.LEARNING_LOSS: self.learning_loss,
        }
        return frozenset(held | {name for name, value in optional.items() if value is not None})

    @property
    def valid(self) -> BoolArray:
        """(n, V, K) True where a prediction is finite."""
        return np.asarray(np.isfinite(self.xy_px).all(axis=-1))


@dataclass(frozen=True)
class Labelled:
    """The labelled frames as ``fit`` sees them.

    xy_px      (m, V, K, 2) image pixels, NaN = not labelled
    state      (m, V, K) PointState
    xyz_world  (m, K, 3) triangulated labels, None without a rig; NaN = not known
    size_px    (V, 2) width and height of the pictures
    box_px     (m, V, 4) x, y, width, height around the subject, None = not known
    """

    xy_px: FloatArray
    state: IntArray
    size_px: FloatArray
    xyz_world: FloatArray | None = None
    box_px: FloatArray | None = None


@dataclass(frozen=True)
class Scores:
    """What a score says about the core frames of a chunk.

    raw        (c,) in the score's own unit, NaN = nothing can be said
    support    (c,) number of valid terms behind ``raw``
    per_point  (c, V, K) the same in the same unit for each point, NaN = no term; None when the score has no points
    """

    raw: FloatArray
    support: IntArray
    per_point: FloatArray | None = None


class Score(Protocol):
    """One acquisition score."""

    @property
    def name(self) -> str:
        """The name under which ``parallax.yaml`` and the records know it."""
        ...

    @property
    def unit(self) -> str:
        """Unit of ``raw`` and ``per_point``."""
        ...

    @property
    def requires(self) -> frozenset[Input]:
        """Without one of these the score has nothing to say."""
        ...

    @property
    def halo(self) -> int:
        """Context frames needed on either side."""
        ...

    @property
    def source(self) -> str:
        """Where the formula was published, for the documentation."""
        ...

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """Learn from labels; None = nothing to learn or too few labels."""
        ...

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Judge the core frames of ``chunk``."""
        ...
