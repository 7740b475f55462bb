"""Rescore: lay out shards of the pool, predict and score them.  Any number of workers may run it at the same time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain, groupby
from typing import Any

import numpy as np

from label_config.values import IntArray, ParallaxError
from label_config.values.prediction import Output, Prediction
from ml_backend.jobs.common_model import source_of
from ml_backend.jobs.dead_device import device_is_gone
from ml_backend.jobs.ensemble_disagreement import earlier_models, predict_ensemble
from ml_backend.jobs.job_context import JobContext, Report, StoppedError
from ml_backend.jobs.labelled_crops import crops_of
from ml_backend.jobs.numbered_boxes import labelled_points, number_boxes
from ml_backend.jobs.scoring import (
    ScoreKit,
    choose_scores,
    labelled_sizes,
    make_kit,
    score_chunk,
    score_subjects_together,
)
from ml_backend.labels.snapshot import Snapshot
from ml_backend.pose.adapter import PoseModel
from ml_backend.pose.infer import Predictor
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.job_arguments import SelectArguments
from ml_backend.project.load_model import load_predictor
from ml_backend.project.predict_frames import predict_frames
from ml_backend.project.round_state import RoundState
from ml_backend.project.subject_rows import Arrays, join_subjects, rows_of_subject, subjects_of
from ml_backend.store import frames, generations, presence, work
from ml_backend.store.fault_points import reach
from ml_backend.store.frames import FrameRow
from ml_backend.store.statuses import EventLevel, JobKind, WorkStatus
from ml_backend.store.versions import VersionRow
from ml_backend.store.work import LostLeaseError, ShardRow
from ml_backend.store.workspace import Workspace

log = logging.getLogger("parallax.rescore")

#: Core frames of one shard: small enough that a killed worker loses little, large enough that opening a video is cheap.
SHARD_FRAMES = 64


def rescore(context: JobContext) -> None:
    """Score the pool with the live model; whoever closes the last shard asks for a selection."""
    workspace = context.workspace
    state = RoundState(workspace)
    live, round_ = state.live, state.round
    if live is None:
        return
    if workspace.spec.subjects.max > 1:
        _say_without_boxes(state)
    work.add_shards(workspace.store, live.id, round_, lay_out(state, round_))
    work_on_shards(state, live, round_, context.job.owner or "worker", context.report, context.should_stop)
    if context.should_stop():
        raise StoppedError("stopped between two shards; those that are done stay done")
    rows = work.list_shards(workspace.store, live.id, round_)
    failed = [row for row in rows if row.status is WorkStatus.FAILED]
    if failed and len(failed) == len(rows):
        raise ParallaxError(f"none of the {len(rows)} shards could be scored; the first says: {failed[0].error}")
    for row in failed:
        text = f"{len(row.frame_ids)} frames of {row.sequence!r} could not be scored: {row.error}"
        presence.tell(workspace.store, text, level=EventLevel.ERROR, key=f"shard {row.id}")
    if all(row.status in (WorkStatus.DONE, WorkStatus.FAILED) for row in rows):
        work.request(workspace.store, JobKind.SELECT, SelectArguments(live.id, round_).to_json())


def _say_without_boxes(state: RoundState) -> None:
    """Frames in which nobody says where the subjects are, to the event log."""
    _say_without_numbers(state)
    without = sum(not row.unnumbered and not subjects_of([row], state.spec.subjects.max) for row in state.frames.values())
    if not without:
        presence.settle(state.workspace.store, "no boxes")
        return
    text = (
        f"{without} of {len(state.frames)} frames have no box of a subject in the data of their tasks "
        f"({state.spec.frames.box!r}): nothing is predicted in them"
    )
    presence.tell(state.workspace.store, text, level=EventLevel.WARNING, key="no boxes")


def _say_without_numbers(state: RoundState) -> None:
    """Frames whose boxes have no number, and no calibration by which they could be matched, to the event log."""
    without = sum(bool(row.unnumbered) and row.key.sequence not in state.rigs for row in state.frames.values())
    if not without:
        presence.settle(state.workspace.store, "no numbers")
        return
    text = (
        f"{without} of {len(state.frames)} frames have boxes without a number, and no calibration by which the boxes of several "
        "cameras could be matched: nothing is predicted in them. Give every box the number of its subject, or calibrate"
    )
    presence.tell(state.workspace.store, text, level=EventLevel.WARNING, key="no numbers")


def lay_out(state: RoundState, round_: int) -> list[dict[str, Any]]:
    """Candidates in temporal order, cut into shards, each with the neighbours in the recording that scores ask for."""
    pool = [row for row in state.frames.values() if row.usable]
    halo = max((score.halo for score in choose_scores(state).scores), default=0)
    of_sequence = {name: [row.id for row in rows] for name, rows in groupby(pool, key=lambda row: row.key.sequence)}
    always = set(_window_frames(state)) | set(_labelled_frames(state))
    chosen = candidates(pool, always, state.spec.selection.candidates_per_round, round_)
    runs = []
    for sequence in sorted({row.key.sequence for row in chosen}):
        ids = [row.id for row in chosen if row.key.sequence == sequence]
        for start in range(0, len(ids), SHARD_FRAMES):
            core = ids[start : start + SHARD_FRAMES]
            context = _neighbours(of_sequence[sequence], core, halo if sequence in state.videos else 0)
            runs.append({"sequence": sequence, "frame_ids": core, "halo_ids": context})
    return runs


def _neighbours(recording: list[int], core: list[int], halo: int) -> list[list[int]]:
    """The frames before, and those after, each of ``core`` in the recording that are not of the core themselves."""
    place = {frame: position for position, frame in enumerate(recording)}
    of_core = set(core)
    before = {recording[place[frame] - away] for frame in core for away in range(1, halo + 1) if place[frame] >= away}
    after = {recording[place[frame] + away] for frame in core for away in range(1, halo + 1) if place[frame] + away < len(place)}
    return [sorted(before - of_core, key=place.__getitem__), sorted(after - before - of_core, key=place.__getitem__)]


def candidates(pool: list[FrameRow], always: set[int], limit: int, round_: int) -> list[FrameRow]:
    """At most ``limit`` frames spread evenly over each sequence, other ones in the next round, and those in ``always``."""
    if len(pool) <= limit:
        return pool
    stride = int(np.ceil(len(pool) / limit))
    offset = round_ % stride
    return [row for position, row in enumerate(pool) if position % stride == offset or row.id in always]


def _window_frames(state: RoundState) -> list[int]:
    number = state.project.generation
    return [] if number is None else [p.frame_id for p in generations.list_picks(state.workspace.store, number)]


def _labelled_frames(state: RoundState) -> list[int]:
    rows = state.snapshots
    return state.workspace.arrays.load(rows[-1].path)["frame_ids"].tolist() if rows else []


def work_on_shards(
    state: RoundState, version: VersionRow, round_: int, owner: str, report: Report, should_stop: Callable[[], bool]
) -> None:
    """Take shard after shard until none is free."""
    workspace = state.workspace
    model: PoseModel | None = None
    kit: ScoreKit | None = None
    earlier: list[PoseModel] = []
    pictures = Pictures(workspace)
    try:
        while not should_stop():
            shard = work.claim_shard(workspace.store, version.id, round_, owner)
            if shard is None:
                return
            if model is None or kit is None:
                model = load_predictor(workspace, workspace.models / version.path)
                kit = _kit(state, version, model)
                earlier = earlier_models(workspace, version) if kit.chosen.wants(Output.ENSEMBLE) else []
            _one(workspace, shard, model, earlier, kit, pictures)
            rows = work.list_shards(workspace.store, version.id, round_)
            done = sum(row.status in (WorkStatus.DONE, WorkStatus.FAILED) for row in rows)
            report({"stage": "rescore", "step": done, "steps": len(rows)})
    finally:
        pictures.close()


def _kit(state: RoundState, version: VersionRow, model: PoseModel) -> ScoreKit:
    snapshot = _snapshot(state, version)
    crops = crops_of(snapshot, model.manifest, labelled_sizes(state, snapshot)) if isinstance(model, Predictor) else None
    return make_kit(state, snapshot, crops, source_of(state.workspace))


def _one(
    workspace: Workspace, shard: ShardRow, model: PoseModel, earlier: list[PoseModel], kit: ScoreKit, pictures: Pictures
) -> None:
    rows = frames.list_frames(workspace.store, [*shard.frame_ids, *chain.from_iterable(shard.halo_ids)])
    of_core = set(shard.frame_ids)
    refreshed = time.monotonic()

    def alive() -> None:
        nonlocal refreshed
        if time.monotonic() - refreshed > work.LEASE_S / 4:
            refreshed = time.monotonic()
            if not work.refresh_shard(workspace.store, shard):
                raise LostLeaseError(f"shard {shard.id} was taken over by another worker")

    def predicted(rows: Sequence[FrameRow]) -> Prediction:
        seen = predict_frames(workspace, model, rows, pictures, heatmaps=kit.chosen.wants(Output.HEATMAPS), alive=alive)
        return predict_ensemble(workspace, seen, earlier, rows, pictures, alive=alive)

    try:
        if workspace.spec.subjects.max == 1:
            arrays = _scored(workspace, kit, shard.sequence, rows, of_core, predicted(rows))
        else:
            rig, labels = kit.rigs.get(shard.sequence), labelled_points(RoundState(workspace))
            rows = number_boxes(workspace, model, rows, pictures, rig, labels=labels, kept=of_core, alive=alive)
            arrays = _of_all_subjects(workspace, kit, shard.sequence, rows, of_core, predicted)
        reach("shard scored")
        path, _ = workspace.arrays.save(f"shards/{shard.version_id}", arrays)
    except LostLeaseError:
        return
    except Exception as error:
        # One poisonous shard must not keep the others from being scored; it is tried again, then put aside.
        log.exception("shard %s (%s) failed", shard.id, shard.sequence, exc_info=error)
        work.close_shard(workspace.store, shard, error=f"{type(error).__name__}: {error}")
        if device_is_gone(error):
            raise  # every other shard would fail as well
        return
    work.close_shard(workspace.store, shard, path=path)


def _scored(
    workspace: Workspace, kit: ScoreKit, sequence: str, rows: Sequence[FrameRow], of_core: set[int], seen: Prediction
) -> Arrays:
    """The arrays of the core frames among ``rows``."""
    core = _positions(rows, of_core)
    arrays = score_chunk(workspace, kit, sequence, [row.key.index for row in rows], core, seen)
    return {**arrays, "frame_ids": np.array([rows[position].id for position in core], dtype=np.int64)}


def _positions(rows: Sequence[FrameRow], ids: set[int]) -> IntArray:
    return np.array([position for position, row in enumerate(rows) if row.id in ids], dtype=np.int64)


def _of_all_subjects(
    workspace: Workspace,
    kit: ScoreKit,
    sequence: str,
    rows: Sequence[FrameRow],
    of_core: set[int],
    predicted: Callable[[Sequence[FrameRow]], Prediction],
) -> Arrays:
    """Each subject scored as if it were alone, its own neighbours in time beside it; put together frame by frame; and the scores
    that compare the subjects of a frame."""
    most, views, keypoints = workspace.spec.subjects.max, len(workspace.views), len(workspace.binding.skeleton)
    place = {row.id: position for position, row in enumerate(rows)}
    xy_px = np.full((len(rows), most, views, keypoints, 2), np.nan)
    parts = {}
    for subject in subjects_of(rows, most):
        own = rows_of_subject(rows, subject)
        seen = predicted(own)
        parts[subject] = _scored(workspace, kit, sequence, own, of_core, seen)
        xy_px[[place[row.id] for row in own], subject] = seen.xy_px
    empty = {"xy_px": np.full((views, keypoints, 2), np.nan), "confidence": np.full((views, keypoints), np.nan)}
    joined = join_subjects(parts, [row for row in rows if row.id in of_core], most, empty, workspace.spec.subjects.combine)
    pictures = np.array([[row.due(view) for view in workspace.views] for row in rows], dtype=np.bool_)
    numbers = [row.key.index for row in rows]
    return joined | score_subjects_together(workspace, kit, sequence, numbers, _positions(rows, of_core), xy_px, pictures)


def _snapshot(state: RoundState, version: VersionRow) -> Snapshot:
    for row in state.snapshots:
        if row.id == version.snapshot_id:
            return Snapshot.from_arrays(state.workspace.arrays.load(row.path))
    raise LookupError(f"px-{version.number} has no snapshot")
