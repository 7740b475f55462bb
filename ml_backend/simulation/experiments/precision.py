"""Average precision and OSPA of pictures; of a whole recording with labelled frames as right (Taketsugu & Ukita 2024)."""

from __future__ import annotations

import numpy as np

from label_config.values import FloatArray, IntArray
from ml_backend.acquisition.features import known_points
from ml_backend.metrics.curve_summaries import area_under_learning_curve
from ml_backend.metrics.oks import THRESHOLDS, Detection, Truth, average_precision, labelled_area, pose_score
from ml_backend.metrics.ospa import mean_pose_ospa
from ml_backend.metrics.subject_count import count_accuracy
from ml_backend.simulation.experiments.data import TrueRecording
from ml_backend.simulation.experiments.learner import Scan

#: Figure → threshold of OKS; "pool_ap" is the mean over COCO's.
AT = {"pool_ap60": 0.6, "pool_ap80": 0.8}


def pool_precision(recording: TrueRecording, seen: Scan, labelled: IntArray) -> dict[str, float]:
    """Average precision over all pictures in ``seen``, labelled frames with the points of their labels and full confidence."""
    truths, detections = _pairs(recording, seen, labelled)
    thresholds = sorted({*THRESHOLDS, *AT.values()})
    sigmas = np.array(recording.skeleton.sigmas)
    found = average_precision(truths, detections, sigmas, area_source="bbox", thresholds=thresholds)
    figures = {name: found.at[threshold] for name, threshold in AT.items()}
    return {"pool_ap": float(np.mean([found.at[threshold] for threshold in THRESHOLDS])), **figures}


def picture_precision(recording: TrueRecording, seen: Scan) -> dict[str, float]:
    """The mean AP of predictions alone, and OSPA of 1 - OKS, mean over pictures."""
    truths, detections = _pairs(recording, seen, seen.rows[:0])
    sigmas = np.array(recording.skeleton.sigmas)
    found = average_precision(truths, detections, sigmas, area_source="bbox")
    count = count_accuracy(truths, detections, sigmas)
    figures = {"test_ap": found.ap, "test_ar": found.ar, "test_count": count.matched_share}
    return figures | {"test_ospa": mean_pose_ospa(truths, detections, sigmas)}


def _pairs(recording: TrueRecording, seen: Scan, labelled: IntArray) -> tuple[list[Truth], list[Detection]]:
    """One of each per picture and figure, but no detection where a figure was not found.

    The area of OKS is that of the box around the true points; pictures without two true points are left out.
    """
    truth = recording.xy_px[seen.rows]
    visible = known_points(truth)
    area = labelled_area(truth, visible)
    done = np.isin(seen.rows, labelled)[:, None, None]
    xy = np.where(done[..., None] & visible[..., None], truth, seen.xy_px)
    score = pose_score(np.where(done, 1.0, seen.prediction.confidence))
    truths, detections = [], []
    for row, view in np.argwhere(area > 0).tolist():
        name = f"{recording.frame_of[seen.rows[row]]}/{view}"
        truths.append(Truth(name, truth[row, view], visible[row, view], float(area[row, view])))
        if recording.found is None or recording.found[seen.rows[row], view] or done[row]:
            detections.append(Detection(name, xy[row, view], float(score[row, view])))
    return truths, detections


def pool_alc(labels: FloatArray, values: FloatArray, pool: int) -> float:
    """Area under a transductive curve (R,) over the labelled share of a pool; with every frame labelled all points are right."""
    share = labels / pool
    beyond = share < 1
    return area_under_learning_curve(np.append(share[beyond], 1.0), np.append(values[beyond], 1.0))
