"""Errors against the truth, which nothing in the loop ever sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from label_config.values import ByteArray, FloatArray, Frame, ImageRef, TrainingTarget
from label_config.values.masked import masked_median
from ml_backend.geometry.consistency import agreed_place
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.labels.split import stable_uniform
from ml_backend.pose.infer import Predictor
from ml_backend.pose.training import train
from ml_backend.project.subject_rows import arrays_of_subject
from ml_backend.project.training_config import config_for
from ml_backend.recordings import UnreadableImageError, iter_images, read_image
from ml_backend.store import pseudo_labels, versions, work
from ml_backend.store.frames import list_frames
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace
from plugins.demo.demo_recordings import DemoRecording, DemoTruth
from plugins.demo.oracle import TOLERANCE_PX


@dataclass(frozen=True)
class HeldOut:
    """Mean error of a model on the held-out frames; ``world`` in ``unit``, that of the calibration, NaN without one."""

    px: float
    world: float
    rare_px: float
    unit: str = ""


def held_out_error(source: DemoRecording, folder: Path) -> HeldOut:
    """Predict the held-out frames with the model in ``folder`` and compare with the truth."""
    truth = source.held_out_truth
    predicted = _predict(source, source.held_out, truth, Predictor.load(folder, "cpu"))
    error = np.linalg.norm(predicted - truth.px, axis=-1)
    world = rare = np.nan
    if source.rig is not None and truth.world is not None:
        found = triangulate_robust(source.rig, _flat(predicted)).xyz_world.reshape(truth.world.shape)
        world = float(np.nanmean(np.linalg.norm(found - truth.world, axis=-1)))
    if truth.rare is not None and truth.rare.any():
        rare = float(np.nanmean(error[truth.rare]))
    return HeldOut(float(np.nanmean(error)), world, rare, source.rig.unit if source.rig is not None else "")


def _predict(source: DemoRecording, frames: Sequence[Frame], truth: DemoTruth, model: Predictor) -> FloatArray:
    """(f, S, V, K, 2) each subject in its box, a single one without any in the whole picture."""
    slots = [(f, v) for f, frame in enumerate(frames) for v, view in enumerate(source.views) if view in frame.images]
    refs = [frames[f].images[source.views[v]] for f, v in slots]
    result = np.full(truth.px.shape, np.nan)
    for position, picture in iter_images(refs):
        if isinstance(picture, UnreadableImageError):
            continue
        f, v = slots[position]
        boxes = {s: truth.box(f, s, v) for s in range(truth.subjects)}
        there = [s for s, box in boxes.items() if box is not None or truth.boxes is None]
        result[f, there, v] = model.predict([picture] * len(there), [boxes[s] for s in there]).xy_px
    return result


@dataclass(frozen=True)
class PseudoError:
    """Accepted keypoints and frames, the median error of their points, and that of all predictions of the pool."""

    keypoints: int
    frames: int
    median_px: float
    pool_median_px: float


def pseudo_error(workspace: Workspace, source: DemoRecording, version: VersionRow) -> PseudoError:
    """How right the pseudo-labels are that came with the order of this version."""
    round_ = versions.current_round(workspace.store)
    rows = pseudo_labels.list_pseudo(workspace.store, round_=round_, withdrawn=True)
    frames = {row.id: row for row in list_frames(workspace.store, [row.frame_id for row in rows])}
    errors: list[float] = []
    keypoints = 0
    for row in rows:
        xy = np.array(row.pose["xy_px"], dtype=np.float64)
        error = np.linalg.norm(xy - _of_subject(source, xy, frames[row.frame_id].key.index), axis=-1)
        errors += error[np.isfinite(error)].tolist()
        keypoints += int(np.isfinite(np.array(row.xyz_world, dtype=np.float64)).all(axis=-1).sum())
    everything: list[float] = []
    for shard in work.list_shards(workspace.store, version.id, round_):
        if shard.path is not None:
            arrays = workspace.arrays.load(shard.path)
            for subject in range(source.truth.subjects):
                predicted = arrays_of_subject(arrays, subject)["xy_px"]
                pairs = zip(predicted, arrays["index"].tolist(), strict=True)
                truth = np.stack([_of_subject(source, xy, index) for xy, index in pairs])
                error = np.linalg.norm(predicted - truth, axis=-1)
                everything += error[np.isfinite(error)].tolist()
    return PseudoError(keypoints, len(rows), _median(errors), _median(everything))


def _of_subject(source: DemoRecording, xy_px: FloatArray, frame: int) -> FloatArray:
    """(V, K, 2) the truth of the subject that points (V, K, 2) are of: the one that most of them are nearest to."""
    truth = source.truth.px[frame]
    distance = np.linalg.norm(truth - xy_px, axis=-1)
    apart = masked_median(distance.reshape(len(truth), -1))
    return np.asarray(truth[np.where(np.isfinite(apart), apart, np.inf).argmin()])


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def random_arm(
    workspace: Workspace,
    source: DemoRecording,
    pool: Sequence[Frame],
    budgets: Sequence[int],
    folder: Path,
    seed: int,
) -> list[HeldOut]:
    """The same numbers of labels, the same recipe and the same annotator, frames in random order: what the loop has to beat."""
    order = np.argsort(stable_uniform(source.sequence, np.array([frame.key.index for frame in pool]), seed + 1))
    errors: list[HeldOut] = []
    labels: list[tuple[Frame, FloatArray]] = []
    init: Path | None = None
    for round_, budget in enumerate(budgets):
        labels += _label_as_the_oracle(source, [pool[i] for i in order[len(labels) : budget]], init)
        config = config_for(workspace.spec.train, warm=init is not None, round_=round_)
        if source.truth.subjects > 1:
            config = replace(config, two_stage=False)
        result = train(config, _targets(source, labels), source.skeleton, _read, folder / f"random-{round_}", init=init)
        init = result.folder
        errors.append(held_out_error(source, init))
    return errors


def _label_as_the_oracle(source: DemoRecording, frames: Sequence[Frame], model: Path | None) -> list[tuple[Frame, FloatArray]]:
    """Points that a model shows and that are off by no more than the tolerance are left where they are, as in the loop."""
    truth = source.truth.of(np.array([frame.key.index for frame in frames], dtype=np.int64))
    labels = truth.px
    if model is not None and len(frames):
        shown = _shown(source, _predict(source, frames, truth, Predictor.load(model, "cpu")))
        near = np.linalg.norm(shown - labels, axis=-1) <= TOLERANCE_PX
        labels = np.where(near[..., None], shown, labels)
    return list(zip(frames, labels, strict=True))


def _shown(source: DemoRecording, predicted: FloatArray) -> FloatArray:
    """What the loop would show: the place that the cameras agree on, where they do."""
    if source.rig is None:
        return predicted
    agreed = agreed_place(source.rig, triangulate_robust(source.rig, _flat(predicted))).reshape(predicted.shape)
    return np.where(np.isfinite(agreed) & np.isfinite(predicted), agreed, predicted)


def _flat(points: FloatArray) -> FloatArray:
    """(f, S, …) → (f·S, …)."""
    return points.reshape(-1, *points.shape[2:])


def _targets(source: DemoRecording, labels: Sequence[tuple[Frame, FloatArray]]) -> list[TrainingTarget]:
    return [
        TrainingTarget(
            frame.images[view], points[v], np.isfinite(points[v]).all(axis=-1).astype(np.float64), box, frame.key, view
        )
        for frame, xy in labels
        for subject, points in enumerate(xy)
        for v, view in enumerate(source.views)
        if view in frame.images
        and ((box := source.truth.box(frame.key.index, subject, v)) is not None or source.truth.boxes is None)
    ]


def _read(ref: ImageRef) -> ByteArray:
    return read_image(ref)
