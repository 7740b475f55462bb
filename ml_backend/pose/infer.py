"""From pictures to points with a trained model."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from label_config.values import Box, ByteArray, Float32Array, FloatArray
from label_config.values.errors import ModelError
from label_config.values.prediction import Output, Prediction, joined
from ml_backend.heatmaps.crops import CropTransform, padded_box
from ml_backend.heatmaps.limb_refinement import most_likely_peaks
from ml_backend.pose.config import AUXILIARY_OUTPUT
from ml_backend.pose.dataset import BOX_MARGIN, subject_box, whole_picture
from ml_backend.pose.device import autocast, choose_device, free_memory, is_out_of_memory, threads, to_network
from ml_backend.pose.heads import Decoded, check_outputs, make_head
from ml_backend.pose.networks import HeadKind, PoseNetwork
from ml_backend.pose.weights import Manifest, load_model

log = logging.getLogger("parallax.pose")

#: A point of the first forward pass counts when its confidence reaches this share of the picture's best, and this much itself.
_CONFIDENT_SHARE = 0.5
_CONFIDENT = 0.1


class Predictor:
    """The built-in PoseModel.

    With a known box: one forward pass on its crop.  Without one: one forward pass on the whole picture; a two-stage model then
    runs a second one on a crop around its confident points.
    """

    def __init__(
        self,
        network: PoseNetwork,
        manifest: Manifest,
        *,
        device: str = "auto",
        batch: int = 32,
        n_threads: int = 1,
        flip_test: bool = False,
        limb_refinement: bool = False,
    ) -> None:
        """``flip_test`` averages the maps of crop and mirrored crop; ``limb_refinement`` chooses among all maxima by the limbs.

        Raises BadInputError where the first cannot be: without heatmaps, or for a skeleton whose mirrored pictures are not valid.
        Without an auxiliary network for the lengths of limbs the second changes nothing, and a warning says so.
        """
        self.manifest, self.keypoints = manifest, manifest.skeleton.keypoints
        self.device = choose_device(device)
        self.batch, self.n_threads = batch, n_threads
        self.network = network.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = make_head(network, manifest.config)
        check_outputs(network, self.head, manifest.config, len(self.keypoints))
        heatmaps = {Output.HEATMAPS} if network.kind == HeadKind.HEATMAP else set()
        beside = {AUXILIARY_OUTPUT[name] for name in manifest.config.auxiliary}
        self.outputs = frozenset({Output.PEAKS, Output.FEATURES} | heatmaps | beside)
        if flip_test and not (manifest.skeleton.flip_augment and Output.HEATMAPS in self.outputs):
            raise ModelError(
                f"train.flip_test: needs heatmaps and a skeleton with flip_augment, got network {manifest.config.network!r} and "
                f"skeleton {manifest.skeleton.name!r}; set it to false"
            )
        self.flip_test = flip_test
        self.limb_refinement = limb_refinement and Output.LINKS in self.outputs
        if limb_refinement and not self.limb_refinement:
            log.warning(
                "train.limb_refinement: this model has no auxiliary network for the lengths of limbs; its points are the largest "
                "maxima. The next version that is trained has one"
            )
        #: Seconds so far: crops cut out, the network, its maps read as points.
        self.spent_s = {"crop": 0.0, "network": 0.0, "points": 0.0}

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "auto",
        *,
        batch: int = 32,
        n_threads: int = 1,
        plugins: Collection[str] = (),
        flip_test: bool = False,
        limb_refinement: bool = False,
    ) -> Self:
        """Read a model folder after checking its hashes.  Raises BadInputError."""
        network, manifest = load_model(folder, plugins=plugins)
        return cls(
            network,
            manifest,
            device=device,
            batch=batch,
            n_threads=n_threads,
            flip_test=flip_test,
            limb_refinement=limb_refinement,
        )

    def predict(
        self, images: Sequence[ByteArray], boxes_px: Sequence[Box | None] | None = None, *, heatmaps: bool = False
    ) -> Prediction:
        """One subject per picture; pictures may differ in size.

        Raises BadInputError for arrays that are no pictures.  Where memory runs out, smaller batches are taken from then on.
        """
        boxes = list(boxes_px) if boxes_px is not None else [None] * len(images)
        if len(boxes) != len(images):
            raise ModelError(f"predict: expected one box or None per picture, got {len(boxes)} for {len(images)}")
        parts: list[Prediction] = []
        done = 0
        with threads(self.n_threads), torch.inference_mode():
            while done < len(images):
                following = done + self.batch
                try:
                    parts.append(self._predict(images[done:following], boxes[done:following], heatmaps))
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error) or self.batch == 1:
                        raise
                else:
                    done = following
                    continue
                free_memory(self.device)
                self.batch //= 2
                log.warning("prediction: out of memory; going on with a batch of %d", self.batch)
        return joined(parts) if parts else self._nothing()

    def _predict(self, images: Sequence[ByteArray], boxes: Sequence[Box | None], heatmaps: bool) -> Prediction:
        input_px = self.manifest.config.input_px
        aspect = input_px[0] / input_px[1]
        crops_px = [
            whole_picture((image.shape[1], image.shape[0]), input_px) if box is None else padded_box(box, aspect, BOX_MARGIN)
            for image, box in zip(images, boxes, strict=True)
        ]
        unknown = [i for i, box in enumerate(boxes) if box is None]
        if self.manifest.two_stage and unknown:
            coarse = self._forward([images[i] for i in unknown], [crops_px[i] for i in unknown], heatmaps=False, flip_test=False)
            for position, i in enumerate(unknown):
                found = confident_box(coarse.xy_px[position], coarse.confidence[position], self.manifest.subject_px)
                if found is not None:
                    crops_px[i] = padded_box(found, aspect, BOX_MARGIN)
        return self._forward(images, crops_px, heatmaps=heatmaps, flip_test=self.flip_test)

    def _forward(self, images: Sequence[ByteArray], boxes: Sequence[Box], *, heatmaps: bool, flip_test: bool) -> Prediction:
        h, w = self.head.size_hm
        config = self.manifest.config
        clock = [time.perf_counter()]
        transforms = [CropTransform(box, config.input_px, (w, h), grid=self.head.grid) for box in boxes]
        crops = np.stack([transform.extract(image) for transform, image in zip(transforms, images, strict=True)])
        clock.append(time.perf_counter())
        with autocast(self.device, config.precision):
            output = self.network(to_network(crops, self.device))
            prediction, features = output.prediction.float(), output.features.float()
            if flip_test:
                prediction = 0.5 * (prediction + self._mirrored(crops))
        beside = {} if self.network.auxiliary is None else self.network.auxiliary(output.maps)
        maps = _array(prediction)
        clock.append(time.perf_counter())
        decoded = self.head.decode(maps)
        if self.limb_refinement:
            decoded = self._refined(decoded, _array(beside[Output.LINKS]))
        peak_xy = _per_picture(transforms, decoded.peak_xy_hm)
        outputs = {
            Output.PEAKS: np.concatenate([peak_xy, decoded.peak_value[..., None]], axis=-1),
            Output.FEATURES: _array(features),
        }
        if heatmaps:
            outputs[Output.HEATMAPS] = _maps(decoded)
        outputs |= {output: _in_image_pixels(output, _array(value), transforms) for output, value in beside.items()}
        found = Prediction(
            xy_px=_per_picture(transforms, decoded.xy_hm),
            confidence=decoded.confidence,
            box_px=np.array(boxes, dtype=np.float64),
            outputs=outputs,
        )
        clock.append(time.perf_counter())
        for name, seconds in zip(self.spent_s, np.diff(clock).tolist(), strict=True):
            self.spent_s[name] += seconds
        return found

    def _refined(self, decoded: Decoded, links_hm: Float32Array) -> Decoded:
        """The same with other maxima as points where the limbs say so; what keeps its largest maximum keeps its finer place."""
        length, log_variance = np.moveaxis(links_hm.astype(np.float64), -1, 0)
        chosen = most_likely_peaks(decoded.peak_xy_hm, decoded.peak_value, length, log_variance, self.manifest.skeleton.limbs)[
            ..., None
        ]
        xy = np.take_along_axis(decoded.peak_xy_hm, chosen[..., None], axis=2)[:, :, 0]
        value = np.take_along_axis(decoded.peak_value, chosen, axis=2)[..., 0]
        return replace(
            decoded,
            xy_hm=np.where(chosen > 0, xy, decoded.xy_hm),
            confidence=np.where(chosen[..., 0] > 0, np.clip(value, 0.0, 1.0), decoded.confidence),
        )

    def _mirrored(self, crops: ByteArray) -> Tensor:
        """Maps of the mirrored crops, mirrored back."""
        maps: Tensor = self.network(to_network(crops[:, :, ::-1], self.device)).prediction.float().flip(-1)
        maps = maps[:, list(self.manifest.skeleton.mirror)]
        if self.head.grid == "stride":
            # Cell 0 of this grid lies on pixel 0, so mirroring shifts it by almost one cell.
            maps = torch.cat([maps[..., :1], maps[..., :-1]], dim=-1)
        return maps

    def _nothing(self) -> Prediction:
        k = len(self.keypoints)
        return Prediction(np.zeros((0, k, 2)), np.zeros((0, k)), np.zeros((0, 4)))


def confident_box(xy_px: FloatArray, confidence: FloatArray, subject_px: float) -> Box | None:
    """A box around the points (K, 2) that the first forward pass is sure of; None when fewer than two, or a quarter, are."""
    sure = (confidence >= max(_CONFIDENT, _CONFIDENT_SHARE * float(confidence.max(initial=0.0)))) & np.isfinite(xy_px).all(axis=1)
    if sure.sum() < min(max(2, len(xy_px) / 4), len(xy_px)):
        return None
    return subject_box(xy_px[sure], subject_px)


def _per_picture(transforms: Sequence[CropTransform], points_hm: FloatArray) -> FloatArray:
    return np.stack([transform.heatmap_to_image(points) for transform, points in zip(transforms, points_hm, strict=True)])


def _in_image_pixels(output: Output, value_hm: Float32Array, transforms: Sequence[CropTransform]) -> FloatArray:
    """An auxiliary network's output, which is in heatmap pixels where it has a length."""
    value = value_hm.astype(np.float64)
    px_per_hm = np.array([abs(np.linalg.det(transform.heatmap_matrix[:2, :2])) ** -0.5 for transform in transforms])[:, None]
    squared = 2 * np.log(px_per_hm)
    if output is Output.LINKS:
        return np.stack([value[..., 0] * px_per_hm, value[..., 1] + squared], axis=-1)
    return value + squared if output is Output.VARIANCE else value


def _array(tensor: Tensor) -> Float32Array:
    return np.ascontiguousarray(tensor.cpu().numpy(), dtype=np.float32)


def _maps(decoded: Decoded) -> Float32Array:
    if decoded.heatmaps is None:
        raise ModelError("predict: this model has no heatmaps; ask only models that list HEATMAPS among their outputs")
    return decoded.heatmaps
