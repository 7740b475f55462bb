"""Errors against the truth, which nothing in the loop ever sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from label_config.values import ByteArray, FloatArray, Frame, ImageRef, TrainingTarget
from ml_backend.geometry.consistency import agreed_place
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.labels.split import stable_uniform
from ml_backend.pose.infer import Predictor
from ml_backend.pose.training import train
from ml_backend.project.training_config import config_for
from ml_backend.recordings import UnreadableImageError, iter_images, read_image
from ml_backend.store import pseudo_labels, versions, work
from ml_backend.store.frames import list_frames
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace
from plugins.demo.demo_recordings import DemoRecording
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
    predicted = _predict(source, source.held_out, Predictor.load(folder, "cpu"))
    truth = source.held_out_truth
    error = np.linalg.norm(predicted - truth.px, axis=-1)
    world = rare = np.nan
    if source.rig is not None and truth.world is not None:
        found = triangulate_robust(source.rig, predicted).xyz_world
        world = float(np.nanmean(np.linalg.norm(found - truth.world, axis=-1)))
    if truth.rare is not None and truth.rare.any():
        rare = float(np.nanmean(error[truth.rare]))
    return HeldOut(float(np.nanmean(error)), world, rare, source.rig.unit if source.rig is not None else "")


def _predict(source: DemoRecording, frames: Sequence[Frame], model: Predictor) -> FloatArray:
    slots = [(f, v) for f, frame in enumerate(frames) for v, view in enumerate(source.views) if view in frame.images]
    refs = [frames[f].images[source.views[v]] for f, v in slots]
    result = np.full((len(frames), len(source.views), len(source.skeleton), 2), np.nan)
    for position, picture in iter_images(refs):
        if not isinstance(picture, UnreadableImageError):
            result[slots[position]] = model.predict([picture]).xy_px[0]
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
        error = np.linalg.norm(xy - source.truth.px[frames[row.frame_id].key.index], axis=-1)
        errors += error[np.isfinite(error)].tolist()
        keypoints += int(np.isfinite(np.array(row.xyz_world, dtype=np.float64)).all(axis=-1).sum())
    everything: list[float] = []
    for shard in work.list_shards(workspace.store, version.id, round_):
        if shard.path is not None:
            arrays = workspace.arrays.load(shard.path)
            error = np.linalg.norm(arrays["xy_px"] - source.truth.px[arrays["index"]], axis=-1)
            everything += error[np.isfinite(error)].tolist()
    return PseudoError(keypoints, len(rows), _median(errors), _median(everything))


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
        result = train(config, _targets(source, labels), source.skeleton, _read, folder / f"random-{round_}", init=init)
        init = result.folder
        errors.append(held_out_error(source, init))
    return errors


def _label_as_the_oracle(source: DemoRecording, frames: Sequence[Frame], model: Path | None) -> list[tuple[Frame, FloatArray]]:
    """Points that a model shows and that are off by no more than the tolerance are left where they are, as in the loop."""
    truth = source.truth.px[[frame.key.index for frame in frames]]
    if model is not None and len(frames):
        shown = _shown(source, _predict(source, frames, Predictor.load(model, "cpu")))
        near = np.linalg.norm(shown - truth, axis=-1) <= TOLERANCE_PX
        truth = np.where(near[..., None], shown, truth)
    return list(zip(frames, truth, strict=True))


def _shown(source: DemoRecording, predicted: FloatArray) -> FloatArray:
    """What the loop would show: the place that the cameras agree on, where they do."""
    if source.rig is None:
        return predicted
    agreed = agreed_place(source.rig, triangulate_robust(source.rig, predicted))
    return np.where(np.isfinite(agreed), agreed, predicted)


def _targets(source: DemoRecording, labels: Sequence[tuple[Frame, FloatArray]]) -> list[TrainingTarget]:
    return [
        TrainingTarget(frame.images[view], xy[v], np.isfinite(xy[v]).all(axis=-1).astype(np.float64), key=frame.key, view=view)
        for frame, xy in labels
        for v, view in enumerate(source.views)
        if view in frame.images
    ]


def _read(ref: ImageRef) -> ByteArray:
    return read_image(ref)
