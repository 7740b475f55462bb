"""A pose model that adds depth: points by a version of the project, depths beyond the root by a single-view network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from label_config.values import Box, ByteArray, FloatArray, Triangulation
from label_config.values.errors import ModelError
from label_config.values.prediction import Output, Prediction
from ml_backend.heatmaps.crops import CropTransform, box_around, padded_box
from ml_backend.pose.dataset import BOX_MARGIN
from ml_backend.pose.infer import Predictor
from ml_backend.pose.single_view_network import (
    SingleViewManifest,
    SingleViewNetwork,
    predict_single_view,
    root_depths,
    to_world,
)


class SingleViewModel:
    """Points are the predictor's; every point's depth beyond the root is the network's, in a crop around those points.

    Raises BadInputError where the two have different keypoints.
    """

    def __init__(self, predictor: Predictor, network: SingleViewNetwork, about: SingleViewManifest) -> None:
        if about.skeleton.keypoints != predictor.keypoints:
            raise ModelError(
                f"single view: the weights are for keypoints {', '.join(about.skeleton.keypoints)}, the model for "
                f"{', '.join(predictor.keypoints)}; train the weights anew with `parallax harvest single-view`"
            )
        self.manifest, self.keypoints = predictor.manifest, predictor.keypoints
        self.outputs = predictor.outputs | {Output.DEPTH}
        self._predictor, self._network, self._about = predictor, network.to(predictor.device), about

    @property
    def spent_s(self) -> dict[str, float]:
        """Seconds so far of the predictor's stages; those of the single-view network are not among them."""
        return self._predictor.spent_s

    def predict(
        self, images: Sequence[ByteArray], boxes_px: Sequence[Box | None] | None = None, *, heatmaps: bool = False
    ) -> Prediction:
        """As :meth:`PoseModel.predict`, with DEPTH; NaN where there is no point."""
        width, height = self._about.camera.size_px
        for image in images:
            if image.shape[:2] != (height, width):
                raise ModelError(
                    f"single view: camera {self._about.camera.name!r} of the weights has pictures of {width} × {height}, got "
                    f"{image.shape[1]} × {image.shape[0]}; expected the camera that they were trained with"
                )
        found = self._predictor.predict(images, boxes_px, heatmaps=heatmaps)
        input_px = self._about.config.input_px
        depth: FloatArray = np.full(found.confidence.shape, np.nan)
        seen, crops = [], []
        for i, points in enumerate(found.xy_px):
            box = box_around(points[np.isfinite(points).all(axis=-1)])
            if box is not None:
                seen.append(i)
                padded = padded_box(box, input_px[0] / input_px[1], BOX_MARGIN)
                crops.append(CropTransform(padded, input_px, input_px).extract(images[i]))
        if seen:
            depth[seen] = predict_single_view(self._network, np.stack(crops))[1]
        return found.adding(Output.DEPTH, np.where(found.valid, depth, np.nan))

    def place(self, xy_px: FloatArray, depth: FloatArray) -> Triangulation:
        """Points (n, 1, K, 2) and depths (n, 1, K) of the camera → places in the world, by the limbs' lengths.

        Nothing contradicts a single camera: no point has a consensus, and covariances and angles are NaN.
        """
        camera, about = self._about.camera, self._about
        xy, beyond = xy_px[:, 0], depth[:, 0]
        root = root_depths(xy, beyond, camera, about.skeleton.limbs, np.array(about.length_world))
        world = to_world(xy, beyond, root, camera)
        placed = np.asarray(np.isfinite(world).all(axis=-1))
        return Triangulation(
            xyz_world=np.where(placed[..., None], world, np.nan),
            inlier=placed[:, None],
            reprojection_px=np.where(placed, 0.0, np.nan)[:, None],
            covariance=np.full((*placed.shape, 3, 3), np.nan),
            angle_deg=np.full(placed.shape, np.nan),
            consensus=np.zeros_like(placed),
        )
