"""May labelling stop?  The stop advice and the forecast, from what the store holds."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from label_config.values import DEFAULT_SUBJECT, FloatArray, Pose2D
from ml_backend.acquisition.order_window import Kind
from ml_backend.acquisition.score_record import ScoreRecord
from ml_backend.acquisition.stopping import Forecast, Rule, StopAdvice, advise, forecast
from ml_backend.metrics.oks import pose_oks
from ml_backend.project.subject_rows import arrays_of_subject
from ml_backend.store import generations, submissions, versions, work
from ml_backend.store.generations import PickRow
from ml_backend.store.statuses import VersionStatus, WorkStatus
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace


def stop_advice(workspace: Workspace) -> StopAdvice:
    """The advice by the rule of parallax.yaml, on predictions of models that had not learnt the labels of the round."""
    spec = workspace.spec.stop
    rule = Rule(spec.rule)
    evaluated = _of_all_labelled(workspace) if rule is Rule.ALL else _of_served(workspace, random_only=rule is Rule.QUANTILE)
    return advise(
        evaluated,
        rule=rule,
        threshold=spec.oks,
        q=spec.quantile,
        patience=spec.rounds,
        min_frames=workspace.spec.gate.min_frames,
    )


def _of_served(workspace: Workspace, *, random_only: bool) -> list[FloatArray]:
    """For each round the OKS of what was served when its frames were labelled."""
    rounds: dict[int, list[float]] = defaultdict(list)
    served = _served(workspace, random_only)
    sigmas, subject = np.array(workspace.binding.skeleton.sigmas), str(DEFAULT_SUBJECT)
    for row in submissions.list_annotations(workspace.store):
        pick = _before(served.get(row.frame_id, []), row)
        if pick is not None and subject in pick.poses:
            rounds[row.round].append(_similarity(Pose2D.from_json(pick.poses[subject]).xy_px, row, sigmas))
    return [np.array(rounds[number]) for number in sorted(rounds)]


def _of_all_labelled(workspace: Workspace) -> list[FloatArray]:
    """For each version whose predictions are kept, oldest first, the OKS on every frame that was labelled before the next one.

    A version under which nobody has labelled yet says nothing: it would be evaluated on what it learnt.
    """
    taken = {row.id: row.round for row in versions.list_snapshots(workspace.store)}
    known = [
        (taken[row.snapshot_id], row)
        for row in versions.list_versions(workspace.store)
        if row.status is VersionStatus.PUBLISHED and row.snapshot_id in taken
    ]
    labels = submissions.list_annotations(workspace.store)
    sigmas = np.array(workspace.binding.skeleton.sigmas)
    evaluated = []
    for i, (learnt, version) in enumerate(known):
        last = known[i + 1][0] if i + 1 < len(known) else max((row.round for row in labels), default=learnt)
        if version.removed_at is not None or not any(learnt < row.round <= last for row in labels):
            continue
        seen = _predictions(workspace, version, range(learnt + 1, last + 1))
        mine = [row for row in labels if row.round <= last and row.frame_id in seen]
        evaluated.append(np.array([_similarity(seen[row.frame_id], row, sigmas) for row in mine]))
    return evaluated


def _predictions(workspace: Workspace, version: VersionRow, rounds: range) -> dict[int, FloatArray]:
    """Frame → (V, K, 2) what the version said of it in its rescans, the newest."""
    found: dict[int, FloatArray] = {}
    for round_ in rounds:
        for shard in work.list_shards(workspace.store, version.id, round_):
            if shard.status is WorkStatus.DONE and shard.path:
                arrays = workspace.arrays.load(shard.path)
                found |= dict(zip(arrays["frame_ids"].tolist(), arrays_of_subject(arrays, DEFAULT_SUBJECT)["xy_px"], strict=True))
    return found


def learning_forecast(workspace: Workspace) -> Forecast | None:
    """What the next 100 labelled frames buy, from the validation error of every version; None with fewer than three."""
    frames = {row.id: row.n_frames for row in versions.list_snapshots(workspace.store)}
    evaluated = [
        (frames[row.snapshot_id], row.metrics.get("validation_px"))
        for row in versions.list_versions(workspace.store)
        if row.snapshot_id in frames
    ]
    known = [(count, error) for count, error in evaluated if error is not None]
    if not known:
        return None
    labels, error_px = np.array(known, dtype=np.float64).T
    return forecast(labels, error_px)


def _served(workspace: Workspace, random_only: bool) -> dict[int, list[tuple[float, PickRow]]]:
    """Frame → (time of the switch, pick), oldest first, of picks whose points can be scored.

    Pseudo-labelled picks have no score record and are left out.
    """
    found: dict[int, list[tuple[float, PickRow]]] = defaultdict(list)
    for generation in generations.list_generations(workspace.store):
        if generation.switched_at is None or generation.version_id is None:
            continue
        for pick in generations.list_picks(workspace.store, generation.number):
            if pick.record is None or not pick.poses:
                continue
            if not random_only or ScoreRecord.from_json(pick.record).kind == Kind.RANDOM:
                found[pick.frame_id].append((generation.switched_at, pick))
    return found


def _before(picks: list[tuple[float, PickRow]], row: AnnotationRow) -> PickRow | None:
    """The last pick that was served before the label was seen."""
    earlier = [pick for switched_at, pick in picks if switched_at <= row.seen_at]
    return earlier[-1] if earlier else None


def _similarity(seen_px: FloatArray, row: AnnotationRow, sigmas: FloatArray) -> float:
    """OKS of the prediction (V, K, 2) against the labels, see :func:`pose_oks`; NaN when they cannot be compared."""
    subject = str(DEFAULT_SUBJECT)
    if subject not in row.poses:
        return float("nan")
    said = Pose2D.from_json(row.poses[subject])
    if seen_px.shape != said.xy_px.shape:
        return float("nan")
    return float(pose_oks(seen_px, said.xy_px, said.placed, sigmas))
