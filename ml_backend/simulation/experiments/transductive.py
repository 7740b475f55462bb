"""How good the points of a whole recording are when its labelled frames count as right (Taketsugu & Ukita 2024)."""

from __future__ import annotations

import numpy as np

from label_config.values import FloatArray, IntArray
from ml_backend.acquisition.features import known_points
from ml_backend.metrics.curve_summaries import area_under_learning_curve
from ml_backend.metrics.oks import THRESHOLDS, Detection, Truth, average_precision, labelled_area, pose_score
from ml_backend.simulation.experiments.data import TrueRecording
from ml_backend.simulation.experiments.learner import Scan

#: Figure → threshold of OKS; "pool_ap" is the mean over COCO's.
AT = {"pool_ap60": 0.6, "pool_ap80": 0.8}


def transductive(recording: TrueRecording, seen: Scan, labelled: IntArray) -> dict[str, float]:
    """Average precision over all pictures in ``seen``, labelled frames with the points of their labels and full confidence.

    The area of OKS is that of the box around the true points; pictures without two true points are left out.
    """
    truth = recording.xy_px[seen.rows]
    visible = known_points(truth)
    area = labelled_area(truth, visible)
    done = np.isin(seen.rows, labelled)[:, None, None]
    xy = np.where(done[..., None] & visible[..., None], truth, seen.xy_px)
    score = pose_score(np.where(done, 1.0, seen.prediction.confidence))
    truths, detections = [], []
    for frame, view in np.argwhere(area > 0).tolist():
        name = f"{frame}/{view}"
        truths.append(Truth(name, truth[frame, view], visible[frame, view], float(area[frame, view])))
        detections.append(Detection(name, xy[frame, view], float(score[frame, view])))
    thresholds = sorted({*THRESHOLDS, *AT.values()})
    sigmas = np.array(recording.skeleton.sigmas)
    found = average_precision(truths, detections, sigmas, area_source="bbox", thresholds=thresholds)
    figures = {name: found.at[threshold] for name, threshold in AT.items()}
    return {"pool_ap": float(np.mean([found.at[threshold] for threshold in THRESHOLDS])), **figures}


def pool_alc(labels: FloatArray, values: FloatArray, pool: int) -> float:
    """Area under a transductive curve (R,) over the labelled share of a pool; with every frame labelled all points are right."""
    share = labels / pool
    beyond = share < 1
    return area_under_learning_curve(np.append(share[beyond], 1.0), np.append(values[beyond], 1.0))
