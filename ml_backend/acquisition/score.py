"""The interface on which every acquisition score hangs.

A score is one small module.  It states what it needs (``requires``), learns what it can from the labelled
frames (``fit``, stored with the model version) and scores a run of frames (``score``).  Scores do no I/O and
keep no global state.  Higher always means "label first".  A frame without one valid term has ``raw`` NaN and
``support`` 0, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from label_config.values import BadInputError, BoolArray, FloatArray, IntArray, Triangulation
from label_config.values.prediction import Output, Prediction
from label_config.values.skeleton import Skeleton
from ml_backend.geometry.cameras import Rig

__all__ = ["Chunk", "Context", "Labelled", "Need", "Score", "Scores", "State"]

#: What ``fit`` hands to ``score``: plain arrays that can be stored beside the model's weights.
State = Mapping[str, FloatArray]


class Context(StrEnum):
    """What a score may need besides outputs of the network."""

    VIEWS = "views"
    RIG = "rig"
    NEIGHBOURS = "neighbours"
    LABELS = "labels"
    SUBJECTS = "subjects"


#: Points and their confidence are always there, so no score names them.
Need = Output | Context


@dataclass(frozen=True)
class Chunk:
    """Frames of one sequence in temporal order, with the context frames on either side of those that are to be scored.

    ``n`` counts all frames, context included; ``core`` are the frames that are to be scored.  They need not follow each other,
    but what precedes and follows each of them in the arrays are its neighbours in the recording.

    index         (n,) frame numbers, strictly increasing
    core          slice of 0..n, or (c,) increasing positions
    prediction    batch axes (n, V); what the network predicted
    size_px       (V, 2) width and height of the pictures
    triangulated  batch axes (n,), None without a rig
    gap           (n,) True where the frame does not follow its predecessor in this array (missing frames, scene cut)
    step          frame numbers from a frame of the recording to the next, usually; None = not known
    subjects      (n, S, V, K, 2) points of every subject, NaN = no such subject, or not in this view; None: the chunk is about
                  one subject, and ``prediction`` is that of it
    pictures      (n, V) False where a camera has no picture of the frame, for ``subjects``; None = all have one
    """

    sequence: str
    index: IntArray
    core: slice | IntArray
    prediction: Prediction
    size_px: FloatArray
    triangulated: Triangulation | None = None
    gap: BoolArray | None = None
    step: float | None = None
    rig: Rig | None = None
    skeleton: Skeleton | None = None
    subjects: FloatArray | None = None
    pictures: BoolArray | None = None

    def __post_init__(self) -> None:
        if self.xy_px.ndim != 4:
            raise BadInputError(f"Chunk.prediction.xy_px: expected shape (n, V, K, 2), got {self.xy_px.shape}")
        n, views = self.xy_px.shape[:2]
        expected = {"index": (n,), "size_px": (views, 2)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise BadInputError(f"Chunk.{name}: expected shape {shape}, got {getattr(self, name).shape}")
        for name in ("xy_px", "confidence"):
            if np.isinf(getattr(self, name)).any():
                raise BadInputError(f"Chunk.prediction.{name} of {self.sequence!r}: expected finite numbers or NaN, got infinity")
        if n > 1 and not (np.diff(self.index) > 0).all():
            raise BadInputError(f"Chunk.index of {self.sequence!r}: frame numbers must increase strictly")

    @property
    def xy_px(self) -> FloatArray:
        """(n, V, K, 2) image pixels, NaN = no prediction."""
        return self.prediction.xy_px

    @property
    def confidence(self) -> FloatArray:
        """(n, V, K) in [0, 1], NaN = no prediction."""
        return self.prediction.confidence

    @property
    def outputs(self) -> Mapping[Output, npt.NDArray[Any]]:
        """The optional outputs of the network, batch axes (n, V)."""
        return self.prediction.outputs

    @property
    def available(self) -> frozenset[Need]:
        """The needs that this chunk meets (LABELS is a matter of ``fit``)."""
        context = {
            Context.VIEWS: self.xy_px.shape[1] > 1,
            Context.NEIGHBOURS: self.gap is None or not self.gap.all(),
            Context.RIG: self.triangulated is not None or (self.subjects is not None and self.rig is not None),
            Context.SUBJECTS: self.subjects is not None,
        }
        return frozenset(self.outputs) | {need for need, met in context.items() if met}

    @property
    def valid(self) -> BoolArray:
        """(n, V, K) True where a point is predicted."""
        return self.prediction.valid


@dataclass(frozen=True)
class Labelled:
    """The labelled frames as ``fit`` sees them.

    xy_px      (m, V, K, 2) image pixels, NaN = not labelled
    state      (m, V, K) PointState
    xyz_world  (m, K, 3) triangulated labels, None without a rig; NaN = not known
    size_px    (V, 2) width and height of the pictures
    box_px     (m, V, 4) x, y, width, height of the crop that the network is given, as in Prediction; None = not known
    source     poses of another project to begin with, None = none
    """

    xy_px: FloatArray
    state: IntArray
    size_px: FloatArray
    xyz_world: FloatArray | None = None
    box_px: FloatArray | None = None
    source: Source | None = None


@dataclass(frozen=True)
class Source:
    """Labelled poses of the project that the common model comes from, with cameras of their own.

    xy_px   (s, W, K, 2) image pixels, NaN = not labelled
    box_px  (s, W, 4) x, y, width, height of their crops, NaN = not known
    """

    xy_px: FloatArray
    box_px: FloatArray


@dataclass(frozen=True)
class Scores:
    """The values of a score for the core frames of a chunk.

    raw        (c,) in the score's own unit, NaN = unavailable
    support    (c,) number of valid terms behind ``raw``
    per_point  (c, V, K) the same in the same unit for each point, NaN = no term; None when the score has no points
    subject    (c,) of several, the one for which it is highest, -1 = none; None when the score is not about a single one
    """

    raw: FloatArray
    support: IntArray
    per_point: FloatArray | None = None
    subject: IntArray | None = None


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
    def requires(self) -> frozenset[Need]:
        """Without one of these the score is unavailable."""
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
        """Score the core frames of ``chunk``."""
        ...
