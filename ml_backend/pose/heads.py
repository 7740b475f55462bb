"""From keypoints to what a network is trained to say, and back, for every kind of head."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from label_config.values import Float32Array, FloatArray
from label_config.values.errors import ModelError
from ml_backend.heatmaps.codecs import Codec, SimCC, make_codec
from ml_backend.heatmaps.crops import Grid
from ml_backend.heatmaps.peaks import find_peaks
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.networks import HeadKind, PoseNetwork, PoseOutput

#: Local maxima kept per heatmap.
N_PEAKS = 5


@dataclass(frozen=True)
class Decoded:
    """Heatmap pixels (for heads without maps: input pixels); shapes as in :class:`~label_config.values.prediction.Prediction`."""

    xy_hm: FloatArray
    confidence: FloatArray
    peak_xy_hm: FloatArray
    peak_value: FloatArray
    heatmaps: Float32Array | None


class Head(Protocol):
    """One way of saying where keypoints are."""

    @property
    def size_hm(self) -> tuple[int, int]:
        """(h, w) of the grid in which points are given."""
        ...

    @property
    def grid(self) -> Grid:
        """How that grid lies on the input's."""
        ...

    def encode(self, xy_hm: FloatArray, weight: FloatArray) -> tuple[Float32Array, Float32Array]:
        """Points (n, K, 2) and weights (n, K) → targets (n, K, ...) and weights, 0 where a point has no target."""
        ...

    def losses(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """(n, K) weighted loss of every keypoint, whose mean is trained; an entry of weight 0 has no influence whatever."""
        ...

    def decode(self, prediction: Float32Array) -> Decoded:
        """Network output → points."""
        ...


def pose_losses(head: Head, output: PoseOutput, target: Tensor, weight: Tensor) -> Tensor:
    """(n, K) weighted losses of every keypoint, summed over the network's stages."""
    total = head.losses(output.prediction.float(), target, weight)
    for prediction in output.earlier:
        total = total + head.losses(prediction.float(), target, weight)
    return total


@dataclass(frozen=True)
class HeatmapHead:
    """One map per keypoint, ½·MSE per keypoint times its weight (SimpleBaseline's loss)."""

    config: TrainConfig
    size_hm: tuple[int, int]

    @property
    def grid(self) -> Grid:
        """UDP's codec is unbiased only on its own grid."""
        return "udp" if self.config.codec == "udp" else self.config.grid

    def encode(self, xy_hm: FloatArray, weight: FloatArray) -> tuple[Float32Array, Float32Array]:
        """Targets (n, K, h, w)."""
        return self._codec.encode(xy_hm, self.size_hm, weight)

    def losses(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """See the class."""
        return 0.5 * weight * (prediction - target).square().mean(dim=(2, 3))

    def decode(self, prediction: Float32Array) -> Decoded:
        """Sub-pixel maxima and all other peaks."""
        xy, confidence = self._codec.decode(prediction)
        unit = np.asarray(prediction / np.float32(self.config.amplitude), dtype=np.float32)
        peak_xy, peak_value = find_peaks(unit, keep=N_PEAKS)
        return Decoded(xy, confidence, peak_xy, peak_value, unit)

    @property
    def _codec(self) -> Codec:
        return make_codec(self.config.codec, sigma=self.config.sigma_hm, amplitude=self.config.amplitude)


@dataclass(frozen=True)
class SimCCHead:
    """Two classifications per keypoint (Li et al. 2022): KL divergence to Gaussian labels; no two-dimensional map."""

    config: TrainConfig
    size_hm: tuple[int, int]
    grid: Grid = "centre"

    @property
    def _codec(self) -> SimCC:
        return SimCC(self.size_hm, ratio=self.config.simcc_ratio, sigma=self.config.simcc_sigma)

    def encode(self, xy_hm: FloatArray, weight: FloatArray) -> tuple[Float32Array, Float32Array]:
        """Targets (n, K, bins_x + bins_y)."""
        return self._codec.encode(xy_hm, self.size_hm, weight)

    def losses(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Mean over both axes of KL(label ‖ prediction), weighted."""
        total = prediction.new_zeros(prediction.shape[:2])
        for logits, label in zip(self._halves(prediction), self._halves(target), strict=True):
            share = label / label.sum(dim=-1, keepdim=True).clamp_min(1e-12)
            total = total + functional.kl_div(functional.log_softmax(logits, dim=-1), share, reduction="none").sum(dim=-1)
        return 0.5 * weight * total

    def decode(self, prediction: Float32Array) -> Decoded:
        """Confidence is the smaller of the two maxima relative to a perfect label's."""
        height = float(np.ravel(self.config.simcc_sigma)[0]) * math.sqrt(2 * math.pi)
        halves = [torch.softmax(half, dim=-1) * height for half in self._halves(torch.from_numpy(prediction))]
        xy, confidence = self._codec.decode(torch.cat(halves, dim=-1).numpy())
        return Decoded(xy, confidence, xy[:, :, None], np.where(confidence > 0, confidence, np.nan)[:, :, None], None)

    def _halves(self, bins: Tensor) -> tuple[Tensor, ...]:
        return torch.split(bins, list(self._codec.lengths), dim=-1)


@dataclass(frozen=True)
class RegressionHead:
    """Coordinates as fractions of the input's sides, smooth L1.  States no confidence: it is 1 wherever there is a point."""

    size_hm: tuple[int, int]
    grid: Grid = "centre"

    def encode(self, xy_hm: FloatArray, weight: FloatArray) -> tuple[Float32Array, Float32Array]:
        """Targets (n, K, 2); points outside the crop have weight 0."""
        h, w = self.size_hm
        share = (xy_hm + 0.5) / (w, h)
        inside = np.asarray(((share >= 0) & (share <= 1)).all(axis=-1))
        return np.where(inside[..., None], share, 0).astype(np.float32), (weight * inside).astype(np.float32)

    def losses(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Sum over x and y, weighted."""
        return weight * functional.smooth_l1_loss(prediction, target, beta=0.05, reduction="none").sum(dim=-1)

    def decode(self, prediction: Float32Array) -> Decoded:
        """The numbers as they are."""
        h, w = self.size_hm
        xy = prediction.astype(np.float64) * (w, h) - 0.5
        confidence = np.asarray(np.isfinite(xy).all(axis=-1), dtype=np.float64)
        return Decoded(xy, confidence, xy[:, :, None], confidence[:, :, None], None)


def check_outputs(network: PoseNetwork, head: Head, config: TrainConfig, n_keypoints: int) -> None:
    """Run a network of one's own on two empty crops.  Raises BadInputError for outputs of other shapes than documented."""
    if ":" not in config.network:
        return
    shape, (h, w) = (2, 3, config.input_px[1], config.input_px[0]), head.size_hm
    expected = {
        HeadKind.HEATMAP: ("heatmaps", (2, n_keypoints, h, w)),
        HeadKind.SIMCC: ("bins", (2, n_keypoints, round(config.simcc_ratio * (h + w)))),
        HeadKind.REGRESSION: ("positions", (2, n_keypoints, 2)),
    }
    what, wanted = expected[network.kind]
    was_training = network.training
    place = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    try:
        with torch.inference_mode():
            found: object = network.eval()(torch.zeros(shape, device=place))
    except Exception as error:
        raise ModelError(
            f"network {config.network!r} fails on crops of shape {shape}: {type(error).__name__}: {error}"
        ) from error
    finally:
        network.train(was_training)
    if not isinstance(found, PoseOutput):
        raise ModelError(f"network {config.network!r}: expected a PoseOutput, got {type(found).__name__}")
    if tuple(found.prediction.shape) != wanted:
        raise ModelError(
            f"network {config.network!r}: prediction: expected {what} of shape {wanted}, two crops of {config.input_px[0]} × "
            f"{config.input_px[1]} with a stride of {network.stride:g}, got {tuple(found.prediction.shape)}"
        )
    if tuple(found.features.shape) != (2, network.feature_dim):
        raise ModelError(
            f"network {config.network!r}: features: expected shape {(2, network.feature_dim)}, as feature_dim says, got "
            f"{tuple(found.features.shape)}"
        )


def make_head(network: PoseNetwork, config: TrainConfig) -> Head:
    """The head that belongs to a network.  Raises BadInputError when the input size does not fit it."""
    w, h = config.input_px
    if w % network.multiple or h % network.multiple:
        raise ModelError(f"train.input_px: {config.network} needs multiples of {network.multiple}, got {w}×{h}")
    if network.kind == HeadKind.HEATMAP:
        return HeatmapHead(config, (round(h / network.stride), round(w / network.stride)))
    if network.kind == HeadKind.SIMCC:
        return SimCCHead(config, (h, w))
    return RegressionHead((h, w))
