"""Predict a 3-D pose from one picture, trained on harvested or triangulated labels (Pavlakos et al. 2017; docs/methods.md §4.4).

For every keypoint the network predicts x and y in the crop, and how much farther than the root it lies along the camera's
axis, in world units.  A single picture does not show the distance of the whole subject: :func:`to_world` takes the root's
depth from elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from label_config.values import ByteArray, Float32Array, FloatArray
from label_config.values.errors import ModelError
from ml_backend.geometry.cameras import Camera
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.device import autocast, choose_device, threads, to_network
from ml_backend.pose.model_files import replacing
from ml_backend.pose.networks import PoseNetwork, build_network, map_shapes
from ml_backend.pose.networks.strided import check_convolutions
from ml_backend.pose.optimizer import make_optimizer, step_seed
from ml_backend.pose.schedules import learning_rate


def camera_targets(xyz_world: FloatArray, camera: Camera, root: int) -> tuple[FloatArray, FloatArray]:
    """What a network should say of poses (n, K, 3): (n, K, 2) distorted image pixels, and (n, K) depth beyond the root's.

    NaN stays NaN; without its root a pose has no depths.
    """
    depth = camera.depth(xyz_world)
    return camera.project(xyz_world), depth - depth[:, root : root + 1]


def to_world(xy_px: FloatArray, depth: FloatArray, root_depth: FloatArray, camera: Camera) -> FloatArray:
    """Inverse of :func:`camera_targets`.

    (n, K, 2) image pixels, (n, K) depths beyond the root's, (n,) depth of the root along the camera's axis → (n, K, 3) world.
    """
    rays = camera.rays(xy_px)
    along = rays @ camera.axis
    return np.asarray(camera.centre + rays * ((depth + root_depth[:, None]) / along)[..., None])


class SingleViewNetwork(nn.Module):
    """Feature maps of any PoseNetwork, pooled to a few cells, two fully connected layers, three numbers per keypoint.

    A global average would throw position away.  Start from a trained 2-D network, or from scratch as the paper does.
    """

    depth_scale: Tensor  #: world units of one unit of depth; part of the weights

    def __init__(
        self, backbone: PoseNetwork, n_keypoints: int, input_px: tuple[int, int], cells: int = 8, hidden: int = 256
    ) -> None:
        """Raises BadInputError for a backbone that returns no feature maps."""
        super().__init__()
        self.input_px, self.cells = input_px, cells
        self.backbone = backbone
        channels = map_shapes(backbone, input_px)[0][1]
        self.read = nn.Sequential(nn.Linear(channels * cells**2, hidden), nn.ReLU(inplace=True))
        self.final_layer = nn.Linear(hidden, 3 * n_keypoints)
        nn.init.normal_(self.final_layer.weight, std=0.001)
        nn.init.zeros_(self.final_layer.bias)
        self.register_buffer("depth_scale", torch.ones(()))

    def forward(self, crops: Tensor) -> Tensor:
        """(n, 3, h, w) → (n, K, 3): x and y as shares of the crop's sides from its middle, depth in ``depth_scale``."""
        maps = self.backbone(crops).maps[0]
        pooled = nn.functional.adaptive_avg_pool2d(maps, self.cells).flatten(1)
        out: Tensor = self.final_layer(self.read(pooled)).unflatten(1, (-1, 3))
        return out


def build_single_view(config: TrainConfig, n_keypoints: int) -> SingleViewNetwork:
    """A fresh network on the backbone that ``config`` names."""
    torch.manual_seed(config.seed)
    backbone = build_network(config.network, 1, plugins=config.plugins, **config.network_args)
    return SingleViewNetwork(backbone, n_keypoints, config.input_px)


def save_single_view(network: SingleViewNetwork, path: Path) -> None:
    """Its weights as safetensors."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary)


def fit_single_view(
    network: SingleViewNetwork,
    crops: ByteArray,
    xy_input: FloatArray,
    depth: FloatArray,
    config: TrainConfig,
) -> list[float]:
    """Train with squared error; returns the loss of every step.

    crops     (n, h, w, 3) of the network's input size
    xy_input  (n, K, 2) labels in input pixels, NaN = not known
    depth     (n, K) depth beyond the root's, world units, NaN = not known
    config    steps, batch, optimiser, rates, seed, device and precision are used; the paper's are RMSprop at 2.5e-4, batch 4
    """
    known = np.isfinite(depth)
    if not (known.any() and np.isfinite(xy_input).any()):
        raise ModelError("single view: no label is known; harvest or label at least one frame in two calibrated views")
    device = choose_device(config.device)
    with torch.no_grad():
        network.depth_scale.fill_(4 * float(np.sqrt(np.mean(depth[known] ** 2))) or 1.0)  # as wide as a subject in its crop
    shares = (xy_input + 0.5) / np.array(network.input_px) - 0.5
    target = np.concatenate([shares, depth[..., None] / float(network.depth_scale)], axis=-1).astype(np.float32)
    check_convolutions(network, device)
    network.to(device).train()
    optimizer = make_optimizer(network, config)
    losses: list[Tensor] = []
    with threads(config.threads):
        for step in range(config.steps):
            rng = np.random.default_rng((config.seed, step))
            torch.manual_seed(step_seed(config.seed, step))
            chosen = rng.choice(len(crops), size=min(config.batch, len(crops)), replace=False)
            for group in optimizer.param_groups:
                group["lr"] = group["factor"] * learning_rate(config, step / config.steps, step * config.batch / len(crops), ())
            with autocast(device, config.precision, training=True):
                said = network(to_network(crops[chosen], device))
            wanted = torch.from_numpy(target[chosen]).to(device)
            present = torch.isfinite(wanted)
            squared = torch.where(present, said.float() - torch.nan_to_num(wanted), torch.zeros_like(wanted)).square()
            loss = squared.sum() / present.sum().clamp_min(1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach())
    return [float(loss) for loss in losses]


def predict_single_view(network: SingleViewNetwork, crops: ByteArray, *, batch: int = 32) -> tuple[FloatArray, FloatArray]:
    """(n, h, w, 3) crops → (n, K, 2) input pixels and (n, K) depths beyond the root's, world units."""
    device = network.depth_scale.device
    network.eval()
    parts: list[Float32Array] = []
    with torch.inference_mode():
        for first in range(0, len(crops), batch):
            parts.append(network(to_network(crops[first : first + batch], device)).float().cpu().numpy())
    said = np.concatenate(parts).astype(np.float64)
    return (said[..., :2] + 0.5) * np.array(network.input_px) - 0.5, said[..., 2] * float(network.depth_scale)
