"""Predict a 3-D pose from one picture, trained on harvested or triangulated labels (Pavlakos et al. 2017; docs/methods.md §4.4).

For every keypoint the network predicts x and y in the crop, and how much farther than the root it lies along the camera's
axis, in world units.  A single picture does not show the distance of the whole subject: :func:`to_world` takes the root's
depth from elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from label_config.settings.skeleton_files import load_skeleton, skeleton_to_mapping
from label_config.values import ByteArray, Float32Array, FloatArray
from label_config.values.errors import ModelError
from label_config.values.masked import masked_median
from label_config.values.skeleton import Skeleton
from ml_backend.geometry.cameras import Camera
from ml_backend.heatmaps.crops import CropTransform
from ml_backend.pose.augment import draw_geometry, photometric
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.device import autocast, choose_device, threads, to_network
from ml_backend.pose.model_files import replacing
from ml_backend.pose.networks import PoseNetwork, build_network, map_shapes
from ml_backend.pose.networks.strided import check_convolutions
from ml_backend.pose.optimizer import make_optimizer, step_seed
from ml_backend.pose.schedules import learning_rate

#: Version of the file, and the key in the head of the safetensors file that holds the manifest.
FORMAT, HEAD = 1, "parallax_single_view"


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


def root_depths(
    xy_px: FloatArray, depth: FloatArray, camera: Camera, limbs: Sequence[tuple[int, int]], length_world: FloatArray
) -> FloatArray:
    """Depth of the root along the camera's axis at which limbs have their known lengths, (n,) world units.

    For one limb, ``|u + Z v| = length`` is a quadratic equation in the root's depth Z, u and v being the differences of its ends'
    rays times depth and of the rays; a pose takes the median over its limbs.

    xy_px, depth  as of :func:`to_world`;  length_world  (L,) of ``limbs``, NaN = not known
    NaN where no limb says anything: an end is missing, or the limb is longer in depth alone than it is.
    """
    rays = camera.rays(xy_px)
    per_depth = rays / (rays @ camera.axis)[..., None]
    parent, child = np.array(limbs, dtype=np.int64).reshape(-1, 2).T
    v = per_depth[:, child] - per_depth[:, parent]
    u = per_depth[:, child] * depth[:, child, None] - per_depth[:, parent] * depth[:, parent, None]
    a, b = (v * v).sum(axis=-1), (u * v).sum(axis=-1)
    discriminant = b * b - a * ((u * u).sum(axis=-1) - length_world**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        root = (np.sqrt(discriminant) - b) / a
    return masked_median(np.where(np.isfinite(root) & (root > 0), root, np.nan))


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


@dataclass(frozen=True)
class SingleViewManifest:
    """What a file of weights says beside them: the network's architecture, and what it was trained on.

    camera        before which the network learnt, in the rig's ``unit``
    length_world  (L,) of the skeleton's limbs, NaN = not known
    """

    skeleton: Skeleton
    config: TrainConfig
    camera: Camera
    unit: str
    length_world: tuple[float, ...]

    def to_text(self) -> str:
        """JSON."""
        return json.dumps(
            {
                "format": FORMAT,
                "skeleton": skeleton_to_mapping(self.skeleton),
                "config": self.config.to_json(),
                "camera": self.camera.to_json(),
                "unit": self.unit,
                "length_world": [None if math.isnan(length) else length for length in self.length_world],
            }
        )

    @classmethod
    def from_text(cls, text: str) -> SingleViewManifest:
        """Inverse of :meth:`to_text`.  Raises BadInputError, KeyError, TypeError or ValueError for what that has not written."""
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise ModelError(f"expected format {FORMAT}, got {data['format']!r}")
        return cls(
            load_skeleton(data["skeleton"]),
            TrainConfig.from_json(data["config"]),
            Camera.from_json(data["camera"]),
            str(data["unit"]),
            tuple(math.nan if length is None else float(length) for length in data["length_world"]),
        )


def build_single_view(config: TrainConfig, n_keypoints: int) -> SingleViewNetwork:
    """A fresh network on the backbone that ``config`` names."""
    torch.manual_seed(config.seed)
    backbone = build_network(config.network, 1, plugins=config.plugins, **config.network_args)
    return SingleViewNetwork(backbone, n_keypoints, config.input_px)


def save_single_view(network: SingleViewNetwork, manifest: SingleViewManifest, path: Path) -> None:
    """Weights as safetensors, and the manifest in the file's head."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, {HEAD: manifest.to_text()})


def load_single_view(path: Path, *, plugins: Collection[str] = ()) -> tuple[SingleViewNetwork, SingleViewManifest]:
    """The network and what :func:`save_single_view` wrote beside it; only tensors and text are read.

    Raises BadInputError with the file's name for any other file.
    """
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(HEAD)
            if text is None:
                raise ModelError("no single-view network; expected a file that `parallax harvest single-view` has written")
            manifest = SingleViewManifest.from_text(text)
            allowed = set(plugins)
            network = build_single_view(
                manifest.config.but(plugins=tuple(name for name in manifest.config.plugins if name in allowed)),
                len(manifest.skeleton),
            )
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, ModelError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    return network.eval(), manifest


def fit_single_view(
    network: SingleViewNetwork,
    crops: ByteArray,
    xy_input: FloatArray,
    depth: FloatArray,
    config: TrainConfig,
    mirror: Sequence[int] | None = None,
) -> list[float]:
    """Train with squared error; returns the loss of every step.

    crops     (n, h, w, 3) of the network's input size
    xy_input  (n, K, 2) labels in input pixels, NaN = not known
    depth     (n, K) depth beyond the root's, world units, NaN = not known
    config    steps, batch, optimiser, rates, augmentation, seed, device and precision are used
    mirror    (K,) each keypoint's partner in a mirrored picture, None = mirrored pictures are not valid
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
            pictures, wanted_step = _augmented(crops[chosen], target[chosen], config.augment, mirror, rng)
            with autocast(device, config.precision, training=True):
                said = network(to_network(pictures, device))
            wanted = torch.from_numpy(wanted_step).to(device)
            present = torch.isfinite(wanted)
            squared = torch.where(present, said.float() - torch.nan_to_num(wanted), torch.zeros_like(wanted)).square()
            loss = squared.sum() / present.sum().clamp_min(1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach())
    return [float(loss) for loss in losses]


def _augmented(
    crops: ByteArray, target: Float32Array, augment: AugmentConfig, mirror: Sequence[int] | None, rng: np.random.Generator
) -> tuple[ByteArray, Float32Array]:
    """Crops (n, h, w, 3) and targets (n, K, 3) changed at random; what lies along the camera's axis stays as it is.

    Turning and moving a picture about the middle of its crop is a turn of the camera about that ray, up to the angle between the
    ray and the axis; a larger picture is a nearer subject, whose root's depth nobody predicts.
    """
    size = (crops.shape[2], crops.shape[1])
    whole, side = (0.0, 0.0, float(size[0]), float(size[1])), np.array(size, dtype=np.float64)
    pictures, points = crops.copy(), target.copy()
    for i in range(len(crops)):
        change = draw_geometry(augment, mirror is not None, rng)
        crop = CropTransform(whole, size, size, **change._asdict())
        pictures[i] = photometric(crop.extract(crops[i]), augment, rng)
        points[i, :, :2] = (crop.image_to_input((target[i, :, :2] + 0.5) * side - 0.5) + 0.5) / side - 0.5
        if change.flip and mirror is not None:
            points[i] = points[i, list(mirror)]
    return pictures, points


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
