"""How far a network is from labels that it does not learn from."""

from __future__ import annotations

import numpy as np
import torch

from ml_backend.pose.config import TrainConfig
from ml_backend.pose.dataset import CropDataset
from ml_backend.pose.device import autocast, to_network
from ml_backend.pose.heads import Head
from ml_backend.pose.networks import PoseNetwork


def mean_error_px(
    network: PoseNetwork, head: Head, data: CropDataset, device: torch.device, config: TrainConfig, batch_size: int
) -> float:
    """Mean distance to the labels over all weighted keypoints, image pixels; a keypoint without prediction counts as
    half the crop's side."""
    network.eval()
    distances = []
    for first in range(0, len(data), batch_size):
        batch = data.plain(first, batch_size)
        with torch.inference_mode(), autocast(device, config.precision):
            prediction = network(to_network(batch.crops, device)).prediction.float().cpu().numpy()
        error_hm = np.linalg.norm(head.decode(prediction).xy_hm - batch.xy_hm, axis=-1)
        error_hm = np.where(np.isnan(error_hm), 0.5 * max(head.size_hm), error_hm)
        distances.append((error_hm * batch.px_per_hm[:, None])[batch.weight > 0])
    return float(np.mean(np.concatenate(distances)))
