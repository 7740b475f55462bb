"""A generic embedding of pictures: any backbone, averaged over its deepest map (hybrid strategy, cold start)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from label_config.values import Box, ByteArray, Float32Array
from ml_backend.heatmaps.crops import CropTransform
from ml_backend.pose.dataset import whole_picture
from ml_backend.pose.device import autocast, choose_device, threads, to_network
from ml_backend.pose.networks import PoseNetwork


class Embedder:
    """Pictures → unit vectors.

    ``network`` is any PoseNetwork, for example ``build_network("backbone", 1, pretrained="microsoft/resnet-50")`` for
    features of ImageNet, or the project's own model.
    """

    def __init__(
        self,
        network: PoseNetwork,
        *,
        input_px: tuple[int, int] = (224, 224),
        device: str = "auto",
        batch: int = 32,
        n_threads: int = 1,
    ) -> None:
        self.device = choose_device(device)
        self.network = network.eval().to(self.device)
        self.input_px, self.batch, self.n_threads = input_px, batch, n_threads

    def embed(self, images: Sequence[ByteArray], boxes_px: Sequence[Box] | None = None) -> Float32Array:
        """uint8 (h, w, 3) pictures of any sizes, optionally their crops → (n, D) of length one."""
        with threads(self.n_threads), torch.inference_mode(), autocast(self.device, "auto"):
            parts = [self._embed(images, boxes_px, first) for first in range(0, len(images), self.batch)]
        if not parts:
            return np.zeros((0, self.network.feature_dim), np.float32)
        raw = np.concatenate(parts)
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        return np.asarray(raw / np.maximum(length, 1e-12), dtype=np.float32)

    def _embed(self, images: Sequence[ByteArray], boxes_px: Sequence[Box] | None, first: int) -> Float32Array:
        crops = []
        for i in range(first, min(first + self.batch, len(images))):
            size = (images[i].shape[1], images[i].shape[0])
            box = boxes_px[i] if boxes_px is not None else whole_picture(size, self.input_px)
            crops.append(CropTransform(box, self.input_px, self.input_px).extract(images[i]))
        return np.asarray(self.network(to_network(np.stack(crops), self.device)).features.float().cpu().numpy(), dtype=np.float32)
