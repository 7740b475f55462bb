"""May labelling stop?  The stop advice and the forecast, from what the store holds."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from label_config.values import DEFAULT_SUBJECT, FloatArray, Pose2D
from ml_backend.acquisition.records import ScoreRecord
from ml_backend.acquisition.stopping import Forecast, StopAdvice, advise, forecast
from ml_backend.acquisition.window import Kind
from ml_backend.metrics.oks import oks
from ml_backend.store import generations, submissions, versions
from ml_backend.store.generations import PickRow
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.workspace import Workspace


def stop_advice(workspace: Workspace) -> StopAdvice:
    """The advice on randomly drawn frames, judged by the model that had not seen their labels."""
    rounds: dict[int, list[float]] = defaultdict(list)
    drawn = _random_picks(workspace)
    sigmas = np.array(workspace.binding.skeleton.sigmas)
    for row in submissions.list_annotations(workspace.store, workspace.project_id):
        pick = _before(drawn.get(row.frame_id, []), row)
        if pick is not None:
            rounds[row.round].append(_similarity(pick, row, sigmas))
    judged = [np.array(rounds[number]) for number in sorted(rounds)]
    return advise(judged, min_frames=workspace.spec.gate.min_frames)


def learning_forecast(workspace: Workspace) -> Forecast | None:
    """What the next 100 labelled frames buy, from the validation error of every version; None with fewer than three."""
    frames = {row.id: row.n_frames for row in versions.list_snapshots(workspace.store, workspace.project_id)}
    judged = [
        (frames[row.snapshot_id], row.metrics.get("validation_px"))
        for row in versions.list_versions(workspace.store, workspace.project_id)
        if row.snapshot_id in frames
    ]
    known = [(count, error) for count, error in judged if error is not None]
    if not known:
        return None
    labels, error_px = np.array(known, dtype=np.float64).T
    return forecast(labels, error_px)


def _random_picks(workspace: Workspace) -> dict[int, list[tuple[float, PickRow]]]:
    """Frame → (time of the switch, pick), oldest first, of picks that were drawn at random and have points to judge."""
    found: dict[int, list[tuple[float, PickRow]]] = defaultdict(list)
    for generation in generations.list_generations(workspace.store, workspace.project_id):
        if generation.switched_at is None or generation.version_id is None:
            continue
        for pick in generations.list_picks(workspace.store, workspace.project_id, generation.number):
            if pick.record is not None and pick.poses and ScoreRecord.from_json(pick.record).kind == Kind.RANDOM:
                found[pick.frame_id].append((generation.switched_at, pick))
    return found


def _before(picks: list[tuple[float, PickRow]], row: AnnotationRow) -> PickRow | None:
    """The last pick that was served before the label was seen."""
    earlier = [pick for switched_at, pick in picks if switched_at <= row.seen_at]
    return earlier[-1] if earlier else None


def _similarity(pick: PickRow, row: AnnotationRow, sigmas: FloatArray) -> float:
    """Mean over views of the OKS of what the model saw against what the person said; NaN when they cannot be compared."""
    subject = str(DEFAULT_SUBJECT)
    if subject not in pick.poses or subject not in row.poses:
        return float("nan")
    seen, said = Pose2D.from_json(pick.poses[subject]), Pose2D.from_json(row.poses[subject])
    if seen.state.shape != said.state.shape:
        return float("nan")
    placed = said.placed
    low = np.where(placed[..., None], said.xy_px, np.inf).min(axis=1)
    high = np.where(placed[..., None], said.xy_px, -np.inf).max(axis=1)
    several = placed.sum(axis=1) > 1
    area = np.where(several, np.prod(np.where(several[:, None], high - low, 0.0), axis=1), 0.0)
    values = oks(seen.xy_px, said.xy_px, placed, area, sigmas)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
