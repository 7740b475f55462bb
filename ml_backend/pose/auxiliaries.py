"""The auxiliary networks beside the pose network: their outputs, their losses, and how they are attached.

They are trained beside the pose network from the first step, on its detached feature maps: the pose network comes out the
same with or without them.  As ``network.auxiliary`` they are part of its weights, under the prefix ``auxiliary.``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from label_config.values import Float32Array, FloatArray
from label_config.values.errors import ModelError
from label_config.values.prediction import Output
from label_config.values.skeleton import Skeleton
from ml_backend.pose.aux_net import AuxiliaryNetwork, feature_pyramid, gaussian_loss, link_lengths, ranking_loss
from ml_backend.pose.config import Auxiliary, TrainConfig
from ml_backend.pose.heads import Head
from ml_backend.pose.networks import PoseNetwork, map_shapes

#: Smallest standard deviation that is predicted, heatmap pixels: labels are no better than that, and a loss without floor has no
#: minimum where links do not vary.
FLOOR_HM = 0.01


@dataclass(frozen=True)
class AuxiliaryStep:
    """The labels and losses of one training step.

    prediction  the network's, detached
    xy_hm       (n, K, 2) labels, heatmap pixels
    weight      (n, K), 0 = no target
    losses      (n, K) weighted, detached
    """

    head: Head
    prediction: Tensor
    xy_hm: FloatArray
    weight: Tensor
    losses: Tensor

    @cached_property
    def labelled_hm(self) -> Tensor:
        """(n, K, 2) labels, NaN without weight."""
        xy = torch.from_numpy(self.xy_hm).to(self.weight)
        return torch.where(self.weight[..., None] > 0, xy, torch.full_like(xy, torch.nan))

    @cached_property
    def error_hm(self) -> Tensor:
        """(n, K) distance of the decoded point from its label, NaN without either."""
        decoded = self.head.decode(np.ascontiguousarray(self.prediction.cpu().numpy())).xy_hm
        distance: Tensor = torch.linalg.vector_norm(torch.from_numpy(decoded).to(self.weight) - self.labelled_hm, dim=-1)
        return distance

    @cached_property
    def crop_losses(self) -> Tensor:
        """(n,) loss of each crop per unit of weight, NaN without labels."""
        return self.losses.sum(dim=1) / self.weight.sum(dim=1)


class Auxiliaries(nn.ModuleDict):
    """One AuxiliaryNetwork for each thing that is asked for."""

    def __init__(self, wanted: Sequence[Auxiliary], shapes: Sequence[torch.Size], skeleton: Skeleton) -> None:
        """``shapes`` of the feature maps, finest first."""
        levels = feature_pyramid([torch.empty(shape, device="meta") for shape in shapes])
        channels, h, w = levels[-1].shape[1:]
        super().__init__({name: AuxiliaryNetwork(channels, _outputs(name, skeleton), len(levels), (h, w)) for name in wanted})
        self.limbs = skeleton.limbs

    def forward(self, maps: Sequence[Tensor]) -> dict[Output, Tensor]:
        """Feature maps of a PoseOutput → the outputs of n crops, shapes as :class:`Output` says but in heatmap pixels."""
        pyramid = feature_pyramid(maps)
        raw = {name: network(pyramid) for name, network in self.items()}
        outputs: dict[Output, Tensor] = {}
        if "links" in raw:
            length, spread = raw["links"].chunk(2, dim=1)
            outputs[Output.LINKS] = torch.stack([length, _floored(spread)], dim=-1)
        if "aleatoric" in raw:
            outputs[Output.VARIANCE] = _floored(raw["aleatoric"])
        if "learning_loss" in raw:
            outputs[Output.LEARNING_LOSS] = raw["learning_loss"][:, 0]
        return outputs

    def loss(self, outputs: Mapping[Output, Tensor], step: AuxiliaryStep) -> Tensor:
        """Sum of what each is trained by."""
        total = step.losses.new_zeros(())
        for output, value in outputs.items():
            total = total + self._loss(output, value, step)
        return total

    def _loss(self, output: Output, value: Tensor, step: AuxiliaryStep) -> Tensor:
        if output is Output.LINKS:
            return gaussian_loss(value[..., 0], value[..., 1], link_lengths(step.labelled_hm, self.limbs))
        if output is Output.VARIANCE:
            return gaussian_loss(torch.zeros_like(value), value, step.error_hm)
        return ranking_loss(value, step.crop_losses)

    def start_at(self, xy_hm: FloatArray, weight: Float32Array) -> None:
        """Let links begin at the mean and spread of labelled lengths: far from there, few steps only find the scale.

        xy_hm (n, K, 2), weight (n, K) of some crops.
        """
        if "links" not in self:
            return
        lengths = link_lengths(torch.from_numpy(np.where(weight[..., None] > 0, xy_hm, np.nan)), self.limbs)
        count = torch.isfinite(lengths).sum(dim=0)
        mean = torch.where(count > 0, lengths.nanmean(dim=0), lengths.nanmean())
        variance = torch.where(count > 1, (lengths - mean).square().nanmean(dim=0), mean.square())
        start = torch.cat([mean, variance.clamp_min(1.0).log()])
        network = self["links"]
        assert isinstance(network, AuxiliaryNetwork)
        with torch.no_grad():
            network.last.bias.copy_(torch.nan_to_num(start))


def attach(network: PoseNetwork, config: TrainConfig, skeleton: Skeleton) -> Auxiliaries | None:
    """Give a network the fresh auxiliary networks that ``config`` asks for; None when it asks for none.

    Raises BadInputError for a network without feature maps, or links without limbs.
    """
    if not config.auxiliary:
        return None
    if "links" in config.auxiliary and not skeleton.limbs:
        raise ModelError(f"auxiliary network 'links': skeleton {skeleton.name!r} has no limbs; add limbs to use link scores")
    auxiliary = Auxiliaries(config.auxiliary, map_shapes(network, config.input_px), skeleton)
    network.auxiliary = auxiliary
    return auxiliary


def _outputs(name: Auxiliary, skeleton: Skeleton) -> int:
    return {"links": 2 * len(skeleton.limbs), "aleatoric": len(skeleton), "learning_loss": 1}[name]


def _floored(log_variance: Tensor) -> Tensor:
    """log(e^s + floor²)."""
    return torch.logaddexp(log_variance, torch.full_like(log_variance, 2 * float(np.log(FLOOR_HM))))
