"""ViTPose (Xu et al. 2022) from the ``transformers`` library: a ready-made human model, useful before the first label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from label_config.values import Box, ByteArray
from label_config.values.errors import ModelError
from label_config.values.prediction import Output, Prediction, by_keypoint_name
from ml_backend.heatmaps.codecs import UDP
from ml_backend.heatmaps.crops import CropTransform, padded_box
from ml_backend.heatmaps.peaks import find_peaks
from ml_backend.pose.dataset import BOX_MARGIN, whole_picture
from ml_backend.pose.device import autocast, choose_device, threads, to_network
from ml_backend.pose.networks.transformers_backbone import from_hub

#: The keypoints of the published models, in their order.
COCO_17 = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)

DEFAULT_WEIGHTS = "usyd-community/vitpose-base-simple"


class VitPose:
    """A PoseModel whose keypoints are matched to the project's by name; those it does not know stay without prediction."""

    outputs = frozenset({Output.HEATMAPS, Output.PEAKS})

    def __init__(
        self, model: Any, keypoints: Sequence[str], *, device: str = "auto", batch: int = 16, n_threads: int = 1
    ) -> None:
        """``model`` is a ``VitPoseForPoseEstimation`` with one map per keypoint of COCO."""
        if model.config.num_labels != len(COCO_17):
            raise ModelError(f"ViTPose: expected a model with {len(COCO_17)} keypoints, got {model.config.num_labels}")
        self.keypoints = tuple(keypoints)
        self.device = choose_device(device)
        self._model = model.eval().to(self.device)
        self._batch, self._n_threads = batch, n_threads
        height, width = model.config.backbone_config.image_size
        self._input_px = (int(width), int(height))

    @classmethod
    def load(cls, keypoints: Sequence[str], weights: str = DEFAULT_WEIGHTS, *, device: str = "auto", batch: int = 16) -> VitPose:
        """``weights`` is a hub name or a local folder.  Raises BadInputError, naming the way out, when it cannot be had."""
        from transformers import VitPoseForPoseEstimation

        return cls(from_hub(VitPoseForPoseEstimation, weights), keypoints, device=device, batch=batch)

    def predict(
        self, images: Sequence[ByteArray], boxes_px: Sequence[Box | None] | None = None, *, heatmaps: bool = False
    ) -> Prediction:
        """As PoseModel says; without a box the whole picture is taken for the person."""
        boxes = list(boxes_px) if boxes_px is not None else [None] * len(images)
        if not images:
            return Prediction(np.zeros((0, len(self.keypoints), 2)), np.zeros((0, len(self.keypoints))), np.zeros((0, 4)))
        w, h = self._input_px
        looks = [
            whole_picture((image.shape[1], image.shape[0]), (w, h)) if box is None else padded_box(box, w / h, BOX_MARGIN)
            for image, box in zip(images, boxes, strict=True)
        ]
        map_px = (w // 4, h // 4)
        transforms = [CropTransform(box, (w, h), map_px, grid="udp") for box in looks]
        crops = [transform.extract(image) for transform, image in zip(transforms, images, strict=True)]
        maps = []
        with threads(self._n_threads), torch.inference_mode(), autocast(self.device, "auto"):
            for first in range(0, len(crops), self._batch):
                pixels = to_network(np.stack(crops[first : first + self._batch]), self.device)
                maps.append(self._model(pixel_values=pixels).heatmaps.float().cpu().numpy())
        maps_hm = np.ascontiguousarray(np.concatenate(maps), dtype=np.float32)
        xy_hm, confidence = UDP().decode(maps_hm)
        peak_xy, peak_value = find_peaks(maps_hm)
        peak_xy_px = np.stack([t.heatmap_to_image(xy) for t, xy in zip(transforms, peak_xy, strict=True)])
        outputs = {Output.PEAKS: np.concatenate([peak_xy_px, peak_value[..., None]], axis=-1)}
        if heatmaps:
            outputs[Output.HEATMAPS] = maps_hm
        prediction = Prediction(
            xy_px=np.stack([t.heatmap_to_image(xy) for t, xy in zip(transforms, xy_hm, strict=True)]),
            confidence=confidence,
            box_px=np.array(looks, dtype=np.float64),
            outputs=outputs,
        )
        return by_keypoint_name(prediction, COCO_17, self.keypoints)
