"""A network's opinion in several views → keypoints in 3-D, by linear and robust triangulation and by pictorial structures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import BoolArray, FloatArray, FrameKey, IntArray
from label_config.values.prediction import Output, stacked
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.pictorial import PictorialStructure
from ml_backend.geometry.triangulation import triangulate_linear, triangulate_robust
from ml_backend.heatmaps.crops import CropTransform
from ml_backend.labels.harvested_labels import Detections, harvest_points
from ml_backend.metrics.mpjpe import position_error
from ml_backend.metrics.pck import pcp
from ml_backend.simulation.experiments.data import TrueRecording
from ml_backend.simulation.studies.takes import enlarged_px

METHODS = ("linear", "robust", "pictorial")
#: How far off a good point may be, as a share of the picture's side; not used where there are heatmaps.
SIGMA_SHARE = 0.03


def observe(recording: TrueRecording, folder: Path, rows: IntArray, factor: int) -> Detections:
    """What the model in ``folder`` says about ``rows``, in pixels of camera pictures ``factor`` times as large."""
    from ml_backend.pose.infer import Predictor

    predictor = Predictor.load(folder, "cpu", batch=64)
    views = [predictor.predict([np.asarray(part[row]) for row in rows], heatmaps=True) for part in recording.pictures]
    seen = stacked(views, axis=1)
    xy = enlarged_px(seen.xy_px, factor)
    heatmaps = seen.outputs[Output.HEATMAPS]
    width, height = (float(factor * side) for side in recording.size_px[0])
    h, w = heatmaps.shape[-2:]
    crop = CropTransform((0.0, 0.0, width, height), predictor.manifest.config.input_px, (w, h), grid=predictor.head.grid)
    return Detections(
        xy_px=xy,
        confidence=seen.confidence,
        sigma_px=np.full(xy.shape[:2], SIGMA_SHARE * max(width, height)),
        heatmaps=heatmaps,
        heatmap_from_image=np.broadcast_to(crop.heatmap_matrix[:2], (*xy.shape[:2], 2, 3)),
    )


def neighbours(views: int, count: int) -> list[list[int]]:
    """Every set of ``count`` neighbouring cameras of a ring of ``views``, each once."""
    return [[(first + i) % views for i in range(count)] for first in range(views if count < views else 1)]


def reconstructed(
    rig: Rig, body: PictorialStructure, keys: Sequence[FrameKey], seen: Detections, views: Sequence[int], keep: float
) -> tuple[dict[str, FloatArray], BoolArray]:
    """Method → (n, K, 3) keypoints from some of the views, and (n, K) those that a harvest would keep."""
    arrays: dict[str, Any] = {name: None if value is None else value[:, views] for name, value in vars(seen).items()}
    part = Detections(**arrays)
    some = rig.subset([rig.names[view] for view in views])
    harvest = harvest_points(body, some, keys, part).select(keep)
    found = {
        "linear": triangulate_linear(some, part.xy_px),
        "robust": triangulate_robust(some, part.xy_px).xyz_world,
        "pictorial": harvest.xyz_world,
    }
    return found, harvest.kept


def figures(xyz: FloatArray, truth: FloatArray, rare: BoolArray, limbs: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Errors of poses (n, K, 3) in world units; keypoints that are NaN in ``truth`` do not count.

    share    of all keypoints that have an error
    error, median, aligned   absolute; and mean after the means of the keypoints coincide (Pavlakos et al. 2017)
    rare     mean over the rare frames (n,)
    pcp      loose, alpha 0.5, in per cent; a missing keypoint is wrong
    """
    absolute = position_error(xyz, truth)
    return {
        "share": float(np.isfinite(xyz + truth).all(axis=-1).mean()),
        "error": absolute.mean,
        "median": absolute.median,
        "aligned": position_error(xyz, truth, "mean").mean,
        "rare": position_error(xyz[rare], truth[rare]).mean if rare.any() else math.nan,
        "pcp": 100 * pcp(xyz, truth, limbs, strict=False).mean,
    }
