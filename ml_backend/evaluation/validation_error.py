"""Errors of a model on the validation frames that annotators have labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from label_config.values import DEFAULT_SUBJECT, FloatArray, FrameKey, IntArray
from label_config.values.masked import masked_mean, mean_of
from label_config.values.prediction import Prediction
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.labels.snapshot import Snapshot
from ml_backend.pose.adapter import PoseModel
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.predict_frames import predict_frames
from ml_backend.project.round_state import RoundState
from ml_backend.project.splitting import rules_of
from ml_backend.project.subject_rows import labelled_rows
from ml_backend.store.frames import FrameRow


@dataclass(frozen=True)
class ValidationErrors:
    """Errors of a model on the labelled validation frames.

    The summaries are None where nothing can be compared.

    per_frame_px     (f,) mean error over the points that annotators placed in a frame, NaN where nothing can be compared
    block            (f,) number of the block of time that a frame lies in; frames of one block are alike
    mean_px, median_px  over all points
    per_keypoint_px  (K,) mean over frames and views
    mean_world       of the triangulated points, world units
    """

    per_frame_px: FloatArray
    block: IntArray
    mean_px: float | None
    median_px: float | None
    per_keypoint_px: list[float | None]
    mean_world: float | None


@dataclass(frozen=True)
class Validation:
    """Labels and predictions of f labelled validation frames; of several subjects, each is a row of its own.

    frames           (f,) ordered by sequence and index
    block            (f,) number of the block of time that a frame lies in
    predicted        of the model
    truth_px         (f, V, K, 2) image pixels, annotators' points only, neither pseudo-labels nor points filled by geometry;
                     NaN = none
    truth_world      (f, K, 3) triangulated from them, NaN = not known or no calibration
    predicted_world  (f, K, 3) triangulated from the model's points, NaN likewise
    subjects         (f,) number of the subject in its frame; () = subject 0 in all
    """

    frames: Sequence[FrameRow]
    block: IntArray
    predicted: Prediction
    truth_px: FloatArray
    truth_world: FloatArray
    predicted_world: FloatArray
    subjects: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if len(self.subjects) != len(self.frames):
            object.__setattr__(self, "subjects", np.full(len(self.frames), DEFAULT_SUBJECT, dtype=np.int64))


def predict_validation(now: RoundState, model: PoseModel, snapshot: Snapshot, pictures: Pictures) -> Validation:
    """Predict the labelled validation frames of a snapshot; labels and predictions come in the same order."""
    rows = snapshot.rows("val")
    rows = np.array(sorted(rows.tolist(), key=lambda row: (snapshot.keys[row], snapshot.subjects[row])), dtype=np.int64)
    frames = labelled_rows(now, snapshot, rows)
    predicted = predict_frames(now.workspace, model, frames, pictures)
    predicted_world = np.full(snapshot.xyz_world[rows].shape, np.nan)
    limit = now.spec.pseudo_labels.threshold_px
    for name, rig in now.rigs.items():
        in_recording = np.array([i for i, frame in enumerate(frames) if frame.key.sequence == name], dtype=np.int64)
        if len(in_recording):
            points = triangulate_robust(rig, predicted.xy_px[in_recording], threshold_px=limit)
            predicted_world[in_recording] = points.xyz_world
    return Validation(
        frames=frames,
        block=time_blocks([frame.key for frame in frames], {name: rule.block_frames for name, rule in rules_of(now).items()}),
        predicted=predicted,
        truth_px=np.where(snapshot.human[rows][..., None], snapshot.xy_px[rows], np.nan),
        truth_world=snapshot.xyz_world[rows],
        predicted_world=predicted_world,
        subjects=snapshot.subjects[rows],
    )


def validation_errors(now: RoundState, model: PoseModel, snapshot: Snapshot, pictures: Pictures) -> ValidationErrors:
    """Compare a model's predictions with annotators' points on the validation frames."""
    validation = predict_validation(now, model, snapshot, pictures)
    error = np.linalg.norm(validation.predicted.xy_px - validation.truth_px, axis=-1)
    world = np.linalg.norm(validation.predicted_world - validation.truth_world, axis=-1)
    return ValidationErrors(
        per_frame_px=masked_mean(error, axis=(1, 2))[0],
        block=validation.block,
        mean_px=_number(mean_of(error)),
        median_px=float(np.median(error[known])) if (known := np.isfinite(error)).any() else None,
        per_keypoint_px=[_number(value) for value in masked_mean(error, axis=(0, 1))[0]],
        mean_world=_number(mean_of(world)),
    )


def time_blocks(keys: Sequence[FrameKey], block_frames: Mapping[str, int]) -> IntArray:
    """(f,) one number per block, the blocks of the split: consecutive frame numbers of one sequence, as many as it says."""
    places = [(key.sequence, key.index // block_frames[key.sequence]) for key in keys]
    number = {place: i for i, place in enumerate(sorted(set(places)))}
    return np.array([number[place] for place in places], dtype=np.int64)


def _number(value: FloatArray | float) -> float | None:
    return float(value) if np.isfinite(value) else None
