"""Harvest: the live model and pictorial structures label a whole recording; a personalised model learns from the best of it.

live model → poses in 3-D → the least uncertain ones, per keypoint → masked targets and people's labels → personalised model
→ gate → better poses.  Killed anywhere, the next try goes on from what is on disk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from label_config.values import BadInputError, FloatArray, ParallaxError, TrainingTarget
from label_config.values.prediction import Output, Prediction
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.pictorial import PictorialStructure
from ml_backend.heatmaps.crops import CropTransform
from ml_backend.jobs.job_context import JobContext, StoppedError
from ml_backend.jobs.publish import publish_if_good
from ml_backend.jobs.retrain_job import same_network
from ml_backend.jobs.scoring import auxiliary_networks
from ml_backend.jobs.training_run import TrainingRun
from ml_backend.labels.harvested_labels import (
    MIN_POSES,
    Detections,
    Harvest,
    body_from_lengths,
    body_from_poses,
    confirmed_poses,
    harvest_points,
    harvest_targets,
    poses_of_use,
)
from ml_backend.labels.snapshot import Snapshot
from ml_backend.pose.infer import Predictor
from ml_backend.pose.presets import preset
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.job_arguments import HarvestArguments, HarvestOptions
from ml_backend.project.label_snapshot import known_boxes
from ml_backend.project.load_model import load_predictor
from ml_backend.project.predict_frames import predict_frames
from ml_backend.project.round_state import RoundState
from ml_backend.project.training_config import config_for, processes_of
from ml_backend.project.training_set import human_targets, model_folder_name, snapshot_of_job, training_rows
from ml_backend.store import versions, work
from ml_backend.store.frames import FrameRow
from ml_backend.store.statuses import JobKind, VersionStatus, WorkStatus
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace

#: Frames that are predicted before their poses are inferred; bounds the memory that heatmaps take.
CHUNK = 32
#: Frames of a recording from whose predictions limb lengths are estimated when there are no labels.
LENGTH_FRAMES = 200
#: Without heatmaps: how far off a good point may be, as a share of the crop's side.
SIGMA_SHARE = 0.03


def harvest(context: JobContext) -> VersionRow:
    """One harvest; the version that the personalised model became.

    The arguments ``before``, ``after`` (array files) and ``version_id`` of the job then say what came out.
    Raises ParallaxError without a model, a calibration or limb lengths.
    """
    workspace, options = context.workspace, HarvestOptions.of(context.job)
    now = RoundState(workspace)
    rigs = _rigs(now, options)
    parent, context = _parent(context, now.live)
    row, snapshot, job = snapshot_of_job(now, context.job, reuse=True)
    context = context.with_job(job)
    frames = _frames(now, rigs, options)
    with closing(Pictures(workspace)) as pictures:
        body = _body(context, snapshot, rigs, frames, pictures, workspace.models / parent.path)
        inference = _PoseInference(body, rigs, frames, pictures)
        before, context = inference.points(context, "before", workspace.models / parent.path)
        now = RoundState(workspace)  # prediction noted what it found of pictures
        targets = human_targets(now, snapshot, training_rows(workspace, snapshot))
        targets += _harvest_targets(now, before, frames, rigs, snapshot, options)
        pictures.prepare([target.image for target in targets])
        base = config_for(
            workspace.spec.train,
            warm=True,
            round_=row.round,
            auxiliary=auxiliary_networks(workspace.spec.scores, limb_refinement=workspace.spec.train.limb_refinement),
        )
        config = preset("personalise", base, n_targets=math.ceil(len(targets) / processes_of(workspace.spec.train)))
        poses = HarvestArguments.of(context.job).before
        folder = workspace.models / model_folder_name(row, parent, config.to_json(), poses, asdict(options))
        run = TrainingRun(context, row, snapshot, parent, pictures)
        run, _ = run.train(config, targets, folder, init=workspace.models / parent.path, extra={"harvest": poses})
        run.context.report({"stage": "validate"})
        now = RoundState(workspace)
        version = publish_if_good(run, folder, now.live, now)
        inference.points(run.context.remember(version_id=version.id), "after", folder)
    return version


def _rigs(now: RoundState, options: HarvestOptions) -> dict[str, Rig]:
    """The rigs of the recordings that were asked for."""
    if now.spec.subjects.max > 1:
        raise BadInputError("harvest: expected one subject in a frame, got subjects.max above 1 in parallax.yaml")
    known = now.rigs
    if not known:
        raise BadInputError(
            "harvest: none of the project's recordings is calibrated for two or more cameras; "
            "give `calibration:` to a recording in parallax.yaml and run `parallax init` again"
        )
    unknown = sorted(set(options.sequences or ()) - set(known))
    if unknown:
        raise BadInputError(f"harvest: {', '.join(unknown)}: expected calibrated recordings among {', '.join(known)}")
    return {name: rig for name, rig in known.items() if options.sequences is None or name in options.sequences}


def _parent(context: JobContext, live: VersionRow | None) -> tuple[VersionRow, JobContext]:
    """The model that harvests and that the personalised one starts from: the live one of the first try."""
    workspace, parent = context.workspace, HarvestArguments.of(context.job).parent
    if isinstance(parent, int):
        return versions.get(workspace.store, parent), context
    if live is None:
        raise ParallaxError("harvest: there is no model yet; label the first frames and `parallax train`")
    if not same_network(workspace, live):
        raise ParallaxError(
            f"harvest: px-{live.number} has another network or skeleton than parallax.yaml asks for; `parallax train` first"
        )
    return live, context.remember(parent=live.id)


def _frames(now: RoundState, rigs: Mapping[str, Rig], options: HarvestOptions) -> list[FrameRow]:
    """Readable frames of these recordings, in order."""
    mine = [row for row in now.frames.values() if row.key.sequence in rigs and row.usable]
    if not mine:
        raise BadInputError(f"harvest: no readable frame in {', '.join(rigs)}")
    return mine[:: options.stride]


def _body(
    context: JobContext,
    snapshot: Snapshot,
    rigs: Mapping[str, Rig],
    frames: Sequence[FrameRow],
    pictures: Pictures,
    model: Path,
) -> PictorialStructure:
    """With the lengths that were stated, else those of the labels outside validation, else those on which the views agree."""
    options, skeleton = HarvestOptions.of(context.job), context.workspace.binding.skeleton
    if options.limb_lengths:
        return body_from_lengths(options.limb_lengths, skeleton, grid=options.grid)
    of_rigs = np.isin([key.sequence for key in snapshot.keys], list(rigs))
    labelled = snapshot.xyz_world[of_rigs & (snapshot.split != "val")]
    if poses_of_use(labelled).sum() >= MIN_POSES:
        return body_from_poses(labelled, skeleton, grid=options.grid)
    predicted = _predicted_poses(context, rigs, frames, pictures, model)
    agreed = int(poses_of_use(predicted).sum())
    if agreed < MIN_POSES:
        raise BadInputError(
            f"harvest: limb lengths need {MIN_POSES} frames that annotators labelled in two or more calibrated views, or in "
            f"which the cameras agree about the model's points, got {int(poses_of_use(labelled).sum())} and {agreed}; "
            "label more frames, or state the lengths with --limb-lengths"
        )
    context.log_event(
        f"harvest: too few labels for limb lengths; they are estimated from {agreed} predicted poses on which the cameras agree"
    )
    return body_from_poses(predicted, skeleton, grid=options.grid)


def _predicted_poses(
    context: JobContext, rigs: Mapping[str, Rig], frames: Sequence[FrameRow], pictures: Pictures, model: Path
) -> FloatArray:
    """(m, K, 3) poses of frames that are evenly spread, NaN where the cameras do not agree."""
    context.report({"stage": "limb lengths"})
    predictor, limit_px = load_predictor(context.workspace, model), context.workspace.spec.pseudo_labels.threshold_px
    poses: list[FloatArray] = []
    for sequence, rig in rigs.items():
        rows = [row for row in frames if row.key.sequence == sequence]
        rows = rows[:: max(1, len(rows) // LENGTH_FRAMES)]
        seen = predict_frames(context.workspace, predictor, rows, pictures)
        poses.append(confirmed_poses(rig, seen.xy_px, limit_px))
    return np.concatenate(poses)


@dataclass(frozen=True)
class _PoseInference:
    """Brings in the poses of all frames, with one model or another."""

    body: PictorialStructure
    rigs: Mapping[str, Rig]
    frames: Sequence[FrameRow]
    pictures: Pictures

    def points(self, context: JobContext, name: Literal["before", "after"], folder: Path) -> tuple[Harvest, JobContext]:
        """The poses by the model in ``folder``; the job remembers their array file by ``name``, so a later try finds them."""
        arrays, path = context.workspace.arrays, getattr(HarvestArguments.of(context.job), name)
        if path is None:
            options = HarvestOptions.of(context.job)
            found = self._harvest(context, load_predictor(context.workspace, folder))
            found = found.select(options.keep, unconfirmed=options.unconfirmed)
            path, _ = arrays.save("harvest", found.to_arrays())
            context = context.remember(**{name: path})
        return Harvest.from_arrays(arrays.load(path)), context

    def _harvest(self, context: JobContext, model: Predictor) -> Harvest:
        heatmaps, limit_px = Output.HEATMAPS in model.outputs, context.workspace.spec.pseudo_labels.threshold_px
        parts: list[Harvest] = []
        done = 0
        for sequence, rig in self.rigs.items():
            rows = [row for row in self.frames if row.key.sequence == sequence]
            for start in range(0, len(rows), CHUNK):
                if context.should_stop():
                    raise StoppedError("stopped between two parts of a recording; these poses are inferred anew")
                context.report({"stage": "harvest", "step": done, "steps": len(self.frames)})
                chunk = rows[start : start + CHUNK]
                seen = predict_frames(context.workspace, model, chunk, self.pictures, heatmaps=heatmaps)
                parts.append(harvest_points(self.body, rig, [row.key for row in chunk], detections(model, seen), limit_px))
                done += len(chunk)
        return Harvest.joined(parts)


def detections(model: Predictor, prediction: Prediction) -> Detections:
    """A model's predictions as pictorial structures read them."""
    box = prediction.box_px
    sigma = np.where(np.isfinite(box[..., 2]), SIGMA_SHARE * box[..., 2], 1.0)
    heatmaps = prediction.outputs.get(Output.HEATMAPS)
    maps = None if heatmaps is None else _image_to_heatmap(model, box, heatmaps.shape[-2:])
    return Detections(prediction.xy_px, prediction.confidence, sigma, heatmaps, maps)


def _image_to_heatmap(model: Predictor, box_px: FloatArray, size_hm: tuple[int, ...]) -> FloatArray:
    """(f, V, 2, 3) affine maps of the crops that were predicted, NaN where there was none."""
    maps = np.full((*box_px.shape[:2], 2, 3), np.nan)
    height, width = size_hm
    for f, v in np.argwhere(np.isfinite(box_px).all(axis=-1)):
        x, y, w, h = box_px[f, v].tolist()
        crop = CropTransform((x, y, w, h), model.manifest.config.input_px, (width, height), grid=model.head.grid)
        maps[f, v] = crop.heatmap_matrix[:2]
    return maps


def _harvest_targets(
    now: RoundState,
    found: Harvest,
    frames: Sequence[FrameRow],
    rigs: Mapping[str, Rig],
    snapshot: Snapshot,
    options: HarvestOptions,
) -> list[TrainingTarget]:
    """Targets of frames in the training part that nobody labelled; people's own points are better, and come beside these."""
    rows = {row.key: row for row in frames}
    labelled = set(snapshot.frame_ids.tolist())
    useful = found.kept.any(axis=1) & np.array(
        [rows[key].split == "train" and rows[key].id not in labelled for key in found.keys]
    )
    chosen = np.flatnonzero(useful)
    if len(chosen) > options.train_frames:
        chosen = chosen[np.linspace(0, len(chosen) - 1, options.train_frames).round().astype(np.int64)]
    targets: list[TrainingTarget] = []
    for sequence, rig in rigs.items():
        mine = found.rows(chosen[[found.keys[i].sequence == sequence for i in chosen]])
        of_recording = [rows[key] for key in mine.keys]
        targets += harvest_targets(
            mine,
            rig,
            [row.images for row in of_recording],
            now.views,
            weight=now.spec.pseudo_labels.weight,
            box_px=known_boxes(now, of_recording),
        )
    if not targets:
        raise ParallaxError(
            "harvest: no pose of an unlabelled training frame was good enough; label more frames, or check the calibration"
        )
    return targets


@dataclass(frozen=True)
class HarvestOutcome:
    """What the newest finished harvest job left: poses of the live model and of the personalised one, and that version."""

    before: Harvest
    after: Harvest
    version: VersionRow

    @property
    def best(self) -> Harvest:
        """The personalised model's poses, unless the gate refused it."""
        return self.before if self.version.status is VersionStatus.REJECTED else self.after


def last_harvest(workspace: Workspace) -> HarvestOutcome:
    """Raises ParallaxError when nothing was harvested yet."""
    jobs = work.list_jobs(workspace.store, limit=100_000)
    job = next((job for job in jobs if job.kind == JobKind.HARVEST and job.status is WorkStatus.DONE), None)
    left = HarvestArguments() if job is None else HarvestArguments.of(job)
    if left.before is None or left.after is None or left.version_id is None:
        raise ParallaxError("nothing was harvested yet; run `parallax harvest`")
    before, after = (Harvest.from_arrays(workspace.arrays.load(path)) for path in (left.before, left.after))
    return HarvestOutcome(before, after, versions.get(workspace.store, left.version_id))
