"""A model version on the labelled validation frames of this moment, by the field's standard metrics (docs/methods.md §8)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import get_args

import numpy as np

from label_config.values import BoolArray, FloatArray, IntArray, ParallaxError
from label_config.values.masked import mean_of
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.features import known_points, pose_size_px
from ml_backend.evaluation.assigned_subjects import assigned, number_agreement
from ml_backend.evaluation.validation_error import Validation, predict_validation
from ml_backend.metrics.bootstrap import paired_bootstrap
from ml_backend.metrics.confidence_calibration import Reliability, reliability
from ml_backend.metrics.identities import Identities
from ml_backend.metrics.mpjpe import Alignment, PositionError, position_error
from ml_backend.metrics.oks import (
    THRESHOLDS,
    AreaSource,
    AveragePrecision,
    Detection,
    Truth,
    average_precision,
    labelled_area,
    oks,
    pose_score,
)
from ml_backend.metrics.ospa import mean_pose_ospa
from ml_backend.metrics.pck import Pck, pck
from ml_backend.metrics.protocols import ProtocolFigures, protocol_figures
from ml_backend.metrics.subject_count import CountAccuracy, count_accuracy
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.label_snapshot import collect_labels
from ml_backend.project.load_model import load_predictor
from ml_backend.project.round_state import RoundState
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace

#: Of the subject's size; confidence is held against the first.
PCK_ALPHAS = (0.05, 0.1)
PCK_REFERENCE = "diagonal of the box around the labelled points of the picture, at least three"
#: No segmentation and no drawn box: the box is that around the labelled points.
AREA_SOURCE: AreaSource = "bbox"
AREA_OF = "width × height of the box around the labelled points of the picture"
#: A subject counts as found from this OKS on.
FOUND_OKS = 0.5


@dataclass(frozen=True)
class Distances:
    """Pixels between a model's points and annotators'; mean and median are NaN without any.

    labelled  points that annotators placed
    points    those of them that the model predicts
    """

    mean: float
    median: float
    points: int
    labelled: int


@dataclass(frozen=True)
class Similarity:
    """OKS of the subjects that have an area; a labelled point without a prediction counts 0.  NaN without a subject.

    asked  threshold → average precision at it, for thresholds that somebody asked for
    ospa   of 1 − OKS, mean over pictures
    """

    mean: float
    ap: AveragePrecision
    asked: dict[float, float]
    ospa: float
    count: CountAccuracy


@dataclass(frozen=True)
class WorldErrors:
    """Errors of the triangulated predictions against annotators' triangulated points, in the unit of the calibration."""

    unit: str
    points: int
    by_alignment: dict[Alignment, PositionError]
    protocol: ProtocolFigures


@dataclass(frozen=True)
class Evaluation:
    """Compare a model version with annotators' points; an unknown figure is NaN, an unknown part None.

    version      its number
    frames, pictures  that carry annotators' points and can be read
    unreadable   pictures that carry annotators' points and cannot: they count nowhere
    error        pixels over all points; interval: 95 % of its mean, whole blocks of time drawn, NaN with a single block
    per_keypoint (K,)
    pck          alpha → share within alpha · PCK_REFERENCE
    protocol     in units of the head, the torso and the limbs
    limbs        limbs whose ends both carry annotators' points
    reliability  of the confidences of predicted points against PCK at the first alpha
    world        None without calibration, or when rigs differ in unit
    identities   of several subjects: whether predictions bear the numbers of the labels that they lie on; None with one
    """

    version: int
    skeleton: Skeleton
    frames: int
    pictures: int
    unreadable: int
    error: Distances
    interval: tuple[float, float]
    per_keypoint: tuple[Distances, ...]
    pck: dict[float, Pck]
    protocol: ProtocolFigures
    limbs: int
    oks: Similarity
    reliability: Reliability
    world: WorldErrors | None
    identities: Identities | None = None


def evaluate(workspace: Workspace, version: VersionRow, thresholds: Sequence[float] = ()) -> Evaluation:
    """Evaluate a version on annotators' points only, as the gate does; AP also at ``thresholds`` of OKS.

    Raises ParallaxError when no validation frame is labelled, BadInputError when the model cannot be loaded.
    """
    now = RoundState(workspace)
    snapshot = collect_labels(now)
    if not snapshot.human[snapshot.rows("val")].any():
        raise ParallaxError("evaluate: no validation frame is labelled yet; expected at least one, they come up as random picks")
    model = load_predictor(workspace, workspace.models / version.path)
    with closing(Pictures(workspace)) as pictures:
        seen = predict_validation(now, model, snapshot, pictures)
    units = {now.rigs[name].unit for name in {frame.key.sequence for frame in seen.frames} if name in now.rigs}
    return measure(seen, now.binding.skeleton, version.number, units.pop() if len(units) == 1 else None, thresholds)


def measure(seen: Validation, skeleton: Skeleton, version: int, unit: str | None, thresholds: Sequence[float] = ()) -> Evaluation:
    """Compute all figures; ``unit`` is that of world coordinates, None = leave these out.

    Of several subjects in a picture, each label is compared with the prediction that the assignment of least distance gives it.
    """
    agreement = number_agreement(seen, np.array(skeleton.sigmas), FOUND_OKS)
    seen = assigned(seen)
    labelled = np.any(known_points(seen.truth_px), axis=-1)
    read: BoolArray = np.asarray(labelled & seen.predicted.read)
    frames: BoolArray = np.asarray(np.any(read, axis=1))
    truth, found, confidence = seen.truth_px[read], seen.predicted.xy_px[read], seen.predicted.confidence[read]
    block = np.broadcast_to(seen.block[:, None], read.shape)[read]
    size = pose_size_px(truth)
    picture = [f"{seen.frames[row].id}/{view}" for row, view in np.argwhere(read).tolist()]
    error = np.linalg.norm(found - truth, axis=-1)
    placed = known_points(truth)
    ends: IntArray = np.array(skeleton.limbs, dtype=np.int64).reshape(-1, 2)
    return Evaluation(
        version=version,
        skeleton=skeleton,
        frames=int(frames.sum()),
        pictures=int(read.sum()),
        unreadable=int((labelled & ~read).sum()),
        error=_distances(error, placed),
        interval=_interval(error, block),
        per_keypoint=tuple(_distances(error[:, k], placed[:, k]) for k in range(len(skeleton))),
        pck={alpha: pck(found, truth, size, alpha) for alpha in PCK_ALPHAS},
        protocol=protocol_figures(found, truth, skeleton),
        limbs=int(placed[:, ends].all(axis=-1).sum()),
        oks=_similarity(picture, truth, found, confidence, np.array(skeleton.sigmas), thresholds),
        reliability=_reliability(error, size, confidence),
        world=_world_errors(seen, frames, skeleton, unit) if unit is not None else None,
        identities=agreement,
    )


def _distances(error: FloatArray, placed: BoolArray) -> Distances:
    known = error[np.isfinite(error)]
    mean, median = (float(known.mean()), float(np.median(known))) if len(known) else (math.nan, math.nan)
    return Distances(mean, median, len(known), int(placed.sum()))


def _interval(error: FloatArray, block: IntArray) -> tuple[float, float]:
    """95 % interval of the mean of errors (m, K) of pictures in blocks (m,)."""
    values = error.ravel()
    # Against a model without any error the difference of the means is the mean itself.
    found = paired_bootstrap(np.zeros(values.shape), values, seed=0, group=np.repeat(block, error.shape[1]))
    return found.lo, found.hi


def _reliability(error: FloatArray, size: FloatArray, confidence: FloatArray) -> Reliability:
    """Over labelled points that were predicted: no prediction states no confidence."""
    ratio = np.divide(error, size[:, None], out=np.full(error.shape, np.nan), where=(size > 0)[:, None])
    known = np.isfinite(ratio)
    return reliability(confidence[known], np.asarray(ratio[known] <= PCK_ALPHAS[0]))


def _similarity(
    pictures: Sequence[str],
    truth: FloatArray,
    found: FloatArray,
    confidence: FloatArray,
    sigmas: FloatArray,
    thresholds: Sequence[float],
) -> Similarity:
    """Of labelled subjects (m, K, 2) in these pictures: whether further subjects are found is not asked.

    A subject counts as without detection when none of its labelled points is predicted.  A single labelled point, or several
    in a row along an axis of the picture, have no area; such subjects are left out.
    """
    placed = known_points(truth)
    areas = labelled_area(truth, placed, AREA_SOURCE)
    truths, detections, values = [], [], []
    for i, name in enumerate(pictures):
        area = float(areas[i])
        if not area > 0:
            continue
        truths.append(Truth(name, truth[i], placed[i], area))
        values.append(float(oks(found[i], truth[i], placed[i], np.array(area), sigmas)))
        predicted = bool(known_points(found[i, placed[i]]).any())
        if predicted:
            detections.append(Detection(name, found[i], float(pose_score(confidence[i]))))
    asked = average_precision(truths, detections, sigmas, area_source=AREA_SOURCE, thresholds=thresholds or THRESHOLDS)
    return Similarity(
        mean=mean_of(np.array(values)),
        ap=average_precision(truths, detections, sigmas, area_source=AREA_SOURCE),
        asked={threshold: asked.at[threshold] for threshold in thresholds},
        ospa=mean_pose_ospa(truths, detections, sigmas),
        count=count_accuracy(truths, detections, sigmas, threshold=FOUND_OKS),
    )


def _world_errors(seen: Validation, frames: BoolArray, skeleton: Skeleton, unit: str) -> WorldErrors:
    predicted, truth = seen.predicted_world[frames], seen.truth_world[frames]
    errors = {alignment: position_error(predicted, truth, alignment, skeleton.root) for alignment in get_args(Alignment)}
    return WorldErrors(unit, int(known_points(truth).sum()), errors, protocol_figures(predicted, truth, skeleton))
