"""The one value that carries a network's output: from the network through shards and jobs to the scores.

An output that not every model has is a member of :class:`Output` and an entry of ``Prediction.outputs``: to add one, add the
member here and fill the entry where it is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from label_config.values import BadInputError, BoolArray, FloatArray, PointState, Pose2D, Provenance

__all__ = ["Output", "Prediction", "by_keypoint_name", "joined", "predicted_pose", "stacked"]

#: What the first axis behind the batch axes of an output counts; None = there is one value, or vector, per picture.
Axis = Literal["keypoint", "limb"] | None


class Output(StrEnum):
    """An optional output of a pose model; the shape follows the batch axes, NaN = no prediction.

    HEATMAPS       (K, h, w) float32 at unit training amplitude, only when asked for
    PEAKS          (K, M, 3) local maxima of the heatmaps, strongest first, NaN-padded: x and y in image pixels, value relative to
                   the training amplitude
    FEATURES       (D) float32 embedding of the crop
    LINKS          (L, 2) expected length of each limb of the model's skeleton, image pixels, and the logarithm of its variance,
                   image pixels squared
    VARIANCE       (K) logarithm of the expected squared error of each point, image pixels squared
    LEARNING_LOSS  () expected loss of the picture; larger = worse, and only differences mean something
    DEPTH          (K) how much farther than the root each point lies along the camera's axis, world units
    ENSEMBLE       (K, E, 2) points of E models, the predicting one first, image pixels
    """

    axis: Axis
    missing: float  #: what stands in for a keypoint that the model lacks

    def __new__(cls, value: str, axis: Axis = None, missing: float = np.nan) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.axis, member.missing = axis, missing
        return member

    HEATMAPS = "heatmaps", "keypoint", 0.0
    PEAKS = "peaks", "keypoint"
    FEATURES = "features"
    LINKS = "links", "limb"
    VARIANCE = "variance", "keypoint"
    LEARNING_LOSS = "learning_loss"
    DEPTH = "depth", "keypoint"
    ENSEMBLE = "ensemble", "keypoint"


@dataclass(frozen=True)
class Prediction:
    """The output of a pose model for pictures of one subject each.

    All arrays begin with the same batch axes B: (n,) pictures, or (f, V) frames and views.

    xy_px       (*B, K, 2) image pixels, NaN = no prediction
    confidence  (*B, K) in [0, 1]; 0 without a point, NaN without a picture
    box_px      (*B, 4) x, y, width, height of the crop that the network was given, image pixels; may leave the picture;
                NaN = the whole picture, or no picture
    outputs     the optional ones, see :class:`Output`
    size_px     (*B, 2) width and height of the pictures, NaN = no picture; None = not recorded

    Raises BadInputError when the axes disagree.
    """

    xy_px: FloatArray
    confidence: FloatArray
    box_px: FloatArray
    outputs: Mapping[Output, npt.NDArray[Any]] = field(default_factory=dict)
    size_px: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.xy_px.ndim < 3 or self.xy_px.shape[-1] != 2:
            raise BadInputError(f"Prediction.xy_px: expected shape (..., K, 2), got {self.xy_px.shape}")
        batch, keypoints = self.xy_px.shape[:-2], self.xy_px.shape[-2]
        expected = {"confidence": (self.confidence, (*batch, keypoints)), "box_px": (self.box_px, (*batch, 4))}
        if self.size_px is not None:
            expected["size_px"] = (self.size_px, (*batch, 2))
        for name, (array, shape) in expected.items():
            if array.shape != shape:
                raise BadInputError(f"Prediction.{name}: expected shape {shape}, got {array.shape}")
        for output, array in self.outputs.items():
            first = (*batch, keypoints) if output.axis == "keypoint" else batch
            if array.shape[: len(first)] != first:
                raise BadInputError(f"Prediction.outputs[{output.value!r}]: expected shape {(*first, '...')}, got {array.shape}")

    @property
    def valid(self) -> BoolArray:
        """(*B, K) True where a point is predicted."""
        return np.asarray(np.isfinite(self.xy_px).all(axis=-1))

    @property
    def read(self) -> BoolArray:
        """(*B) True where there was a picture to predict."""
        size = np.zeros(1) if self.size_px is None else self.size_px
        return np.broadcast_to(np.isfinite(size).all(axis=-1), self.xy_px.shape[:-2])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays by name, the optional ones by the value of their Output; inverse of :meth:`from_arrays`."""
        plain = {"xy_px": self.xy_px, "confidence": self.confidence, "box_px": self.box_px}
        sizes = {} if self.size_px is None else {"size_px": self.size_px}
        return plain | sizes | {output.value: array for output, array in self.outputs.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Inverse of :meth:`arrays`; names that are none of ours are left out."""
        outputs = {output: arrays[output.value] for output in Output if output.value in arrays}
        return cls(arrays["xy_px"], arrays["confidence"], arrays["box_px"], outputs, arrays.get("size_px"))

    @classmethod
    def nothing(cls, batch: tuple[int, ...], keypoints: int) -> Self:
        """No point anywhere."""
        return cls(np.full((*batch, keypoints, 2), np.nan), np.full((*batch, keypoints), np.nan), np.full((*batch, 4), np.nan))

    def adding(self, output: Output, array: npt.NDArray[Any]) -> Self:
        """The same with one output more."""
        return replace(self, outputs={**self.outputs, output: array})

    def beside(self, others: Sequence[FloatArray]) -> Self:
        """The same with the points of other models (each *B, K, 2) as ENSEMBLE, behind its own; unchanged without any."""
        return self.adding(Output.ENSEMBLE, np.stack([self.xy_px, *others], axis=-2)) if others else self

    def rows(self, index: Any) -> Self:
        """The part of the first batch axis that a slice, mask or list of numbers picks."""
        return self.from_arrays({name: array[index] for name, array in self.arrays().items()})


def predicted_pose(xy_px: FloatArray, confidence: FloatArray) -> Pose2D:
    """Points (V, K, 2) and confidences (V, K) of one frame as a pose to show; NaN points are unlabelled."""
    placed: BoolArray = np.asarray(np.isfinite(xy_px).all(axis=-1))
    return Pose2D(
        xy_px=np.where(placed[..., None], xy_px, np.nan),
        confidence=np.where(placed, np.clip(confidence, 0.0, 1.0), np.nan),
        state=np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64),
        provenance=np.where(placed, Provenance.PREDICTED, Provenance.NONE).astype(np.int64),
    )


def joined(parts: Sequence[Prediction], axis: int = 0) -> Prediction:
    """Predictions one after the other along a batch axis.  All parts carry the same outputs."""
    arrays = [part.arrays() for part in parts]
    return Prediction.from_arrays({name: np.concatenate([part[name] for part in arrays], axis=axis) for name in arrays[0]})


def stacked(parts: Sequence[Prediction], axis: int) -> Prediction:
    """Predictions of the same pictures' other views along a new batch axis.  All parts carry the same outputs."""
    arrays = [part.arrays() for part in parts]
    return Prediction.from_arrays({name: np.stack([part[name] for part in arrays], axis=axis) for name in arrays[0]})


def by_keypoint_name(prediction: Prediction, have: Sequence[str], want: Sequence[str]) -> Prediction:
    """Reorder the keypoints from the names ``have`` to the names ``want``; keypoints that the model lacks become NaN with
    confidence 0.  Outputs per limb belong to another skeleton and are dropped.

    Names are compared without case, spaces, hyphens, underscores and points.  Raises BadInputError when no name agrees.
    """
    position = {_plain(name): i for i, name in enumerate(have)}
    source = np.array([position.get(_plain(name), -1) for name in want], dtype=np.int64)
    if (source < 0).all():
        raise BadInputError(
            f"the model's keypoints ({', '.join(have)}) and the skeleton's ({', '.join(want)}) have no name in common"
        )
    axis = prediction.xy_px.ndim - 2

    def pick(array: npt.NDArray[Any], missing: float) -> npt.NDArray[Any]:
        picked = np.take(array, source, axis=axis)
        picked[(slice(None),) * axis + (source < 0,)] = missing
        return picked

    outputs = {
        output: pick(array, output.missing) if output.axis == "keypoint" else array
        for output, array in prediction.outputs.items()
        if output.axis != "limb"
    }
    xy, confidence = pick(prediction.xy_px, np.nan), pick(prediction.confidence, 0.0)
    return replace(prediction, xy_px=xy, confidence=confidence, outputs=outputs)


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in " -_.")
