"""Select: what the shards say → the ordered window, its reasons, the points to show, and the pseudo-labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from label_config.values import FloatArray, FrameKey, Triangulation
from ml_backend.acquisition.explain import RoundContext, build_record
from ml_backend.acquisition.feature_spaces import FeatureSet
from ml_backend.acquisition.fusion import Component, Fused, fuse
from ml_backend.acquisition.order_window import Kind, Params, Selection, Strategy, rank_score
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.reasons import reason_line
from ml_backend.acquisition.selection import select, without
from ml_backend.evaluation.batch_performance import last_batch_performance
from ml_backend.jobs.after_window import following
from ml_backend.jobs.cold_start import describe_pictures, first_poses
from ml_backend.jobs.common_model import take_over
from ml_backend.jobs.diversity import embedded_frames, feature_space, say_filtered, strategy_of, uncertain_frames
from ml_backend.jobs.job_context import JobContext, Report
from ml_backend.jobs.preannotations import Poses, poses_to_show
from ml_backend.jobs.scoring import Chosen, choose_scores, triangulation_of
from ml_backend.jobs.self_training import propose_pseudo, store_pseudo
from ml_backend.jobs.unavailable_scores import note_unavailable, unavailable_scores
from ml_backend.jobs.worst_points import subjects_that_stand_out, worst_points
from ml_backend.labels.split import random_slots, stable_uniform
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.job_arguments import RescoreArguments, SelectArguments
from ml_backend.project.label_snapshot import collect_labels
from ml_backend.project.round_state import RoundState
from ml_backend.project.scored_shards import Arrays, newest_scored_shards
from ml_backend.project.subject_rows import LEAST_SURE, OF_SUBJECTS, arrays_of_subject
from ml_backend.store import frames, generations, work
from ml_backend.store.fault_points import reach
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import PickRow
from ml_backend.store.statuses import JobKind
from ml_backend.store.versions import VersionRow
from ml_backend.store.work import JobRow
from ml_backend.store.workspace import Workspace


@dataclass(frozen=True)
class Scored:
    """The frames that the live model has scored; ``arrays`` have one row per frame, in the order of ``rows``.

    unavailable  chosen scores that say nothing about any of them → why
    """

    rows: list[FrameRow]
    arrays: Arrays
    chosen: Chosen
    unavailable: Mapping[str, str]
    version: VersionRow
    round: int

    @property
    def triangulated(self) -> Triangulation | None:
        """With batch axis (f,), None without a rig."""
        return triangulation_of(self.arrays)


def select_window(context: JobContext) -> None:
    """Write down the next generation."""
    context.report({"stage": "select"})
    workspace = context.workspace
    state = RoundState(workspace)
    live = state.live
    if live is None:
        common = take_over(context)
        if common is None:
            _cold_start(state, context.report)
        else:
            work.request(workspace.store, "rescore", {"version_id": common.id})
        return
    scored = _scored(state, context.job, live)
    if scored is None:  # rolled back to a version whose scores were thrown away
        work.request(workspace.store, JobKind.RESCORE, RescoreArguments(live.id).to_json())
        return
    snapshot = collect_labels(state)
    note_unavailable(workspace, scored.chosen.scores, scored.unavailable)
    open_rows = _open_positions(state, scored.rows)
    pool = Pool.from_keys([scored.rows[i].key for i in open_rows])
    fused = _fuse(scored, open_rows)
    features, labelled_keys = feature_space(state, snapshot, scored.rows, scored.arrays, open_rows, state.labelled)
    train = np.array([scored.rows[i].split == "train" for i in open_rows], dtype=np.bool_)
    sticky = _evaluation_slots(state, [scored.rows[i] for i in open_rows])
    params = _params(state, scored)
    uncertain = uncertain_frames(workspace.spec, scored.arrays["confidence"][open_rows], fused.total, params.batch)
    if uncertain is not None:
        say_filtered(workspace, uncertain)
        if workspace.spec.selection.hybrid.space == "embedding":
            features, labelled_keys = embedded_frames(workspace, scored.rows, open_rows, uncertain), []
    chosen = select(pool, fused, params, features=features, eligible=train, uncertain=uncertain, sticky=sticky)
    _keep_drawn(workspace, chosen, [scored.rows[i].id for i in open_rows])
    picked = {pick.key for pick in chosen.picks[: workspace.spec.train.min_new_frames]} | set(chosen.sticky.values())
    proposal = propose_pseudo(state, scored.rows, _of_each_subject(scored.arrays), scored.round, picked)
    round_context = RoundContext(scored.round, f"px-{scored.version.number}", labelled=labelled_keys)
    left = without(chosen, {scored.rows[i].key for i in proposal.positions}, following=len(proposal.positions))
    shown = poses_to_show(state, snapshot, scored.rows, scored.arrays)
    order = _picks(state, scored, open_rows, left, fused, round_context, features, shown)
    order += _pseudo_picks(scored, proposal.positions, len(order), shown)
    order += following(state, order, {row.id: poses for row, poses in zip(scored.rows, shown, strict=True)})
    generation = generations.add(workspace.store, scored.version.id, order)
    reach("order noted")
    store_pseudo(workspace, proposal, scored.round, generation.number)


def _scored(state: RoundState, job: JobRow, live: VersionRow) -> Scored | None:
    """What the shards of the newest rescan of the live model hold; None when there are none."""
    asked = SelectArguments.of(job).round
    newest = newest_scored_shards(state, live, state.round if asked is None else asked)
    if newest is None:
        return None
    chosen = choose_scores(state)
    return Scored(newest.rows, newest.arrays, chosen, unavailable_scores(state, chosen.scores, newest.arrays), live, newest.round)


def _of_each_subject(arrays: Arrays) -> list[Triangulation]:
    """The triangulation of each subject with batch axis (f,); [] without a rig."""
    most = arrays[OF_SUBJECTS + "xy_px"].shape[1] if LEAST_SURE in arrays else 1
    found = [triangulation_of(arrays_of_subject(arrays, subject)) for subject in range(most)]
    return [one for one in found if one is not None]


def _open_positions(state: RoundState, rows: Sequence[FrameRow]) -> list[int]:
    """Frames that may be shown: not all damaged, no guards, not labelled or skipped, with a task or the means for one."""
    skipped = {task.frame_id for task in state.tasks if task.skipped}
    has_task = {task.frame_id for task in state.tasks}
    may_create = state.spec.documents_root is not None
    return [
        i
        for i, row in enumerate(rows)
        if row.usable
        and row.split != "guard"
        and row.id not in state.labelled
        and row.id not in skipped
        and (may_create or row.id in has_task)
    ]


def _fuse(scored: Scored, open_rows: Sequence[int]) -> Fused:
    components = [
        Component(
            score.name,
            np.asarray(scored.arrays[f"raw.{score.name}"][open_rows], dtype=np.float64),
            scored.chosen.weights[score.name],
            score.unit,
            scored.arrays[f"support.{score.name}"][open_rows],
        )
        for score in scored.chosen.scores
        if score.name not in scored.unavailable
    ]
    return fuse(components, len(open_rows))


def _evaluation_slots(state: RoundState, rows: Sequence[FrameRow]) -> dict[int, FrameKey]:
    """Rank → random frame: every n-th slot, in an order that never changes, so that an open pick keeps its turn.

    Validation frames are labelled only through these slots and come first; then training frames, those that were drawn before and
    are still open first.
    """
    spec = state.spec.selection
    if not spec.random_every:
        return {}
    turn = _turns(rows, state.project.seed)
    waiting = sorted(rows, key=lambda row: (row.split != "val", not row.random_pick, turn[row.key], row.key))
    slots = np.flatnonzero(random_slots(min(spec.window, len(rows)), spec.random_every)).tolist()
    return {slot: row.key for slot, row in zip(slots, waiting, strict=False)}


def _turns(rows: Sequence[FrameRow], seed: int) -> dict[FrameKey, float]:
    """A random number for each frame, the same for ever."""
    turn: dict[FrameKey, float] = {}
    for sequence in {row.key.sequence for row in rows}:
        keys = [row.key for row in rows if row.key.sequence == sequence]
        drawn = stable_uniform(sequence, np.array([key.index for key in keys], dtype=np.int64), seed)
        turn |= dict(zip(keys, drawn.tolist(), strict=True))
    return turn


def _keep_drawn(workspace: Workspace, chosen: Selection, frame_ids: Sequence[int]) -> None:
    """Remember the random picks of a selection among ``frame_ids``: they keep their place until they are labelled."""
    frames.mark_random_picks(workspace.store, [frame_ids[p.position] for p in chosen.picks if p.kind is Kind.RANDOM])


def _params(state: RoundState, scored: Scored) -> Params:
    spec = state.spec.selection
    return Params(
        window=spec.window,
        batch=min(spec.window, max(2 * state.spec.train.min_new_frames, 20)),
        strategy=strategy_of(state.spec),
        performance=last_batch_performance(state).oks,
        trade_off=spec.lambda_,
        exclusion_frames=spec.exclusion_frames,
        random_every=spec.random_every,
        random_without_points=spec.blind_random,
        seed=state.project.seed + scored.round,
    )


def _picks(
    state: RoundState,
    scored: Scored,
    open_rows: Sequence[int],
    chosen: Selection,
    fused: Fused,
    context: RoundContext,
    features: FeatureSet,
    shown: Sequence[Poses],
) -> list[PickRow]:
    found = scored.triangulated
    views, keypoints = state.views, state.binding.skeleton.keypoints
    order = []
    for pick in chosen.picks:
        i = open_rows[pick.position]
        residual = found.reprojection_px[i] if found else None
        worst = worst_points(scored.arrays, i, views, keypoints)
        subjects = subjects_that_stand_out(scored.arrays, i)
        record = build_record(
            pick, chosen, fused, context, features=features, worst=worst, subjects=subjects, missing=scored.unavailable
        )
        order.append(
            PickRow(
                rank=pick.rank,
                frame_id=scored.rows[i].id,
                score=pick.score,
                without_points=pick.without_points,
                pseudo=False,
                reason=reason_line(record.why),
                record=record.to_json(),
                poses=shown[i],
                notes=None if residual is None or LEAST_SURE in scored.arrays else _rounded(residual),
            )
        )
    return order


def _rounded(values: FloatArray) -> list[list[float | None]]:
    return [[round(float(value), 1) if np.isfinite(value) else None for value in row] for row in values]


def _pseudo_picks(scored: Scored, positions: Sequence[int], before: int, shown: Sequence[Poses]) -> list[PickRow]:
    """Pseudo-labelled frames, shown so that a person can audit them, behind the ``before`` others: a person's minute is
    better spent elsewhere."""
    return [
        PickRow(
            rank=rank,
            frame_id=scored.rows[i].id,
            score=rank_score(rank, before + len(positions)),
            without_points=False,
            pseudo=True,
            reason="all cameras agree; pseudo-labelled",
            record=None,
            poses=shown[i],
            notes=None if LEAST_SURE in scored.arrays else _rounded(scored.arrays["reprojection_px"][i]),
        )
        for rank, i in enumerate(positions, start=before)
    ]


def _cold_start(state: RoundState, report: Report) -> None:
    """No model yet: k-medians on how pictures look; every n-th slot a validation frame; points of a ready-made model if there is
    one."""
    workspace, everything = state.workspace, list(state.frames.values())
    rows = [everything[i] for i in _open_positions(state, everything)]
    pictures = Pictures(workspace)
    features = FeatureSet(describe_pictures(workspace, rows, pictures, report), name="look")
    pool = Pool.from_keys([row.key for row in rows])
    train = np.array([row.split == "train" for row in rows], dtype=np.bool_)
    spec = state.spec.selection
    params = Params(
        window=spec.window,
        batch=spec.window,
        strategy=Strategy.K_MEDIAN,
        exclusion_frames=spec.exclusion_frames,
        random_every=spec.random_every,
        random_without_points=spec.blind_random,
        seed=state.project.seed,
    )
    nothing = fuse([], len(rows))
    chosen = select(pool, nothing, params, features=features, eligible=train, sticky=_evaluation_slots(state, rows))
    _keep_drawn(workspace, chosen, [row.id for row in rows])
    shown = [pick.position for pick in chosen.picks if pick.kind is not Kind.RANDOM]
    poses = dict(zip(shown, first_poses(workspace, [rows[i] for i in shown], pictures), strict=True))
    pictures.close()
    order = [
        PickRow(
            rank=pick.rank,
            frame_id=rows[pick.position].id,
            score=pick.score,
            without_points=not poses.get(pick.position),
            pseudo=False,
            reason="one of the first frames: many look like it" if pick.kind is not Kind.RANDOM else "picked at random",
            record=None,
            poses=poses.get(pick.position, {}),
            notes=None,
        )
        for pick in chosen.picks
    ]
    # Comparing pictures takes minutes: people went on, and pictures turned out to be unreadable.
    order += following(RoundState(workspace), order, {})
    generations.add(workspace.store, None, order)
