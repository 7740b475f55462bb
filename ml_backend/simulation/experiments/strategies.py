"""What a network says about the pool → which frames are labelled next, and which are pseudo-labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from label_config.values import BadInputError, FloatArray, FrameKey, IntArray, PointState, Triangulation
from label_config.values.masked import masked_mean
from label_config.values.prediction import Output, Prediction
from ml_backend.acquisition.combining import combined
from ml_backend.acquisition.feature_spaces import FeatureSet
from ml_backend.acquisition.features import pose3d_features
from ml_backend.acquisition.fusion import Component, Fused, fuse
from ml_backend.acquisition.hybrid import filter_views
from ml_backend.acquisition.order_window import Params, Strategy
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.score import Chunk, Context, Labelled, Need, Score
from ml_backend.acquisition.score_registry import default_weights, make_scores
from ml_backend.acquisition.selection import select
from ml_backend.labels.pseudo_labelling import PseudoLabels, PseudoParams, propose
from ml_backend.simulation.experiments.arms import IDLE, TRUE_ERROR, Arm
from ml_backend.simulation.experiments.data import TrueRecording
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.learner import Scan, TrainingSet
from ml_backend.simulation.experiments.results_table import WATCHED

Raw = Mapping[str, FloatArray]


def product_weights(recording: TrueRecording) -> dict[str, float]:
    """The weights of the fused score that the product takes by default for such a recording."""
    return default_weights(has_rig=recording.rig is not None, has_video=recording.video, n_views=len(recording.pictures))


def scores_of(recording: TrueRecording, arm: Arm) -> tuple[Score, ...]:
    """The scores that the arm chooses by."""
    return make_scores([name for name in arm.weights(product_weights(recording)) if name != TRUE_ERROR])


def needs_of(recording: TrueRecording, arm: Arm) -> frozenset[Need]:
    """What the arm's scores read beside points and confidences."""
    return frozenset[Need]().union(*(score.requires for score in scores_of(recording, arm)))


def check_arm(recording: TrueRecording, arm: Arm) -> None:
    """Raises BadInputError for an arm that a recording can never serve, before anything is trained."""
    several = recording.subject is not None
    met = {
        Context.SUBJECTS: several,
        Context.VIEWS: len(recording.pictures) > 1,
        Context.NEIGHBOURS: recording.video,
        Context.RIG: recording.rig is not None,
    }
    lacking = sorted(need.value for need in needs_of(recording, arm) if isinstance(need, Context) and not met.get(need, True))
    if Output.LINKS in needs_of(recording, arm) and not recording.skeleton.limbs:
        lacking.append("limbs")
    if (arm.pseudo or arm.views) and recording.rig is None:
        lacking.append("rig, for pseudo-labels and partly labelled frames")
    if arm.space == "poses" and recording.xyz is None:
        lacking.append("rig, for 3-D poses")
    if (arm.pseudo or arm.views) and several:
        lacking.append("frames of one figure, for pseudo-labels and partly labelled frames")
    if arm.combine and not several:
        lacking.append("several figures, whose scores could be put together")
    if lacking:
        raise BadInputError(f"strategy {str(arm)!r}: this recording lacks {', '.join(lacking)}; leave the strategy out")


def score_pool(
    recording: TrueRecording, seen: Scan, training_set: TrainingSet, arm: Arm, source: TrueRecording | None = None
) -> dict[str, FloatArray]:
    """Score name → (c,) raw values of the frames in ``seen``, for the watched scores, the arm's own, and "total" (fused).

    source  the labelled takes behind a generic model: scores learn from them too

    Of several figures each row has the value of its frame.
    """
    weights = product_weights(recording)
    labelled = _labelled(recording, training_set, source)
    own = {score.name: score for score in scores_of(recording, arm)}
    scores = (own | {score.name: score for score in make_scores(sorted({*WATCHED[1:], *weights} - set(own)))}).values()
    each = np.arange(len(seen.rows))
    if recording.subject is None:
        raw = _scored(recording, seen, tuple(scores), labelled)
        return raw | {"total": _fused(raw, weights, each).total}
    _, first, frame = np.unique(recording.frame_of[seen.rows], return_index=True, return_inverse=True)
    values: dict[str, FloatArray] = {}
    for subject in np.unique(recording.subject).tolist():
        mine = np.flatnonzero(recording.subject[seen.rows] == subject)
        for name, of_subject in _scored(recording, part_of(seen, mine), tuple(scores), labelled).items():
            values.setdefault(name, np.full((len(first), recording.subject.max() + 1), np.nan))[frame[mine], subject] = of_subject
    raw = {name: combined(of_all, arm.combine or "mean")[frame] for name, of_all in values.items()}
    raw |= {name: found[frame] for name, found in _scored_together(recording, seen, tuple(scores)).items()}
    return raw | {"total": _fused(raw, weights, first).total[frame]}


def _scored(recording: TrueRecording, seen: Scan, scores: Sequence[Score], labelled: Labelled) -> dict[str, FloatArray]:
    """The scores of frames of one figure."""
    index = np.array([recording.keys[row].index for row in seen.rows], dtype=np.int64)
    step = np.diff(index, prepend=index[:1] - 1000)
    chunk = Chunk(
        sequence=recording.keys[0].sequence,
        index=index,
        core=slice(0, len(index)),
        prediction=seen.prediction,
        size_px=recording.size_px,
        triangulated=seen.triangulated,
        gap=(step > 2.5 * np.median(step)) if recording.video else np.ones(len(index), dtype=np.bool_),
        rig=recording.rig,
        skeleton=recording.skeleton,
    )
    return {
        score.name: score.score(chunk, score.fit(labelled, recording.rig, recording.skeleton)).raw
        for score in scores
        if score.requires - {Context.LABELS} <= chunk.available
    }


def _scored_together(recording: TrueRecording, seen: Scan, scores: Sequence[Score]) -> dict[str, FloatArray]:
    """(f,) the scores that compare the figures of a frame, for the frames of ``seen``."""
    poses, first = by_frame(recording, seen.rows, seen.xy_px)
    index = np.array([recording.keys[row].index for row in seen.rows[first]], dtype=np.int64)
    step = np.diff(index, prepend=index[:1] - 1000)
    chunk = Chunk(
        sequence=recording.keys[0].sequence,
        index=index,
        core=slice(0, len(index)),
        prediction=Prediction.nothing((len(index), poses.shape[2]), poses.shape[3]),
        size_px=recording.size_px,
        gap=step > 2.5 * np.median(step),
        rig=recording.rig,
        subjects=poses,
    )
    together = [score for score in scores if Context.SUBJECTS in score.requires and score.requires <= chunk.available]
    return {score.name: score.score(chunk, None).raw for score in together}


def part_of(seen: Scan, positions: IntArray) -> Scan:
    """Some rows of a scan."""
    found = seen.triangulated
    part = None if found is None else Triangulation(**{name: array[positions] for name, array in vars(found).items()})
    return Scan(seen.rows[positions], seen.prediction.rows(positions), part)


def by_frame(recording: TrueRecording, rows: IntArray, values: FloatArray) -> tuple[FloatArray, IntArray]:
    """(c, ...) of rows → (f, S, ...) of their frames, ascending, NaN = no such figure; and (f,) the first row of each."""
    assert recording.subject is not None
    _, first, frame = np.unique(recording.frame_of[rows], return_index=True, return_inverse=True)
    found = np.full((len(first), int(recording.subject.max()) + 1, *values.shape[1:]), np.nan, dtype=values.dtype)
    found[frame, recording.subject[rows]] = values
    return found, first


def mean_of_frame(recording: TrueRecording, rows: IntArray, values: FloatArray) -> FloatArray:
    """(c, ...) with the mean over the figures of the frame in each row; as it is where every row is a frame."""
    if recording.subject is None:
        return values
    found, _ = by_frame(recording, rows, values)
    _, frame = np.unique(recording.frame_of[rows], return_inverse=True)
    return masked_mean(found, axis=1)[0][frame]


def _labelled(recording: TrueRecording, training_set: TrainingSet, source: TrueRecording | None) -> Labelled:
    xy, weight, xyz = training_set.xy_px, training_set.weight, recording.xyz
    known = None if xyz is None else xyz[training_set.rows]
    if source is not None:
        xy, weight = np.concatenate([source.xy_px, xy]), np.concatenate([np.ones(source.xy_px.shape[:3]), weight])
        known = None if known is None or source.xyz is None else np.concatenate([source.xyz, known])
    state = np.where(weight > 0, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)
    return Labelled(xy, state, recording.size_px, known)


def _fused(raw: Raw, weights: Mapping[str, float], open_: IntArray, *, minmax: bool = False) -> Fused:
    components = [Component(name, raw[name][open_], weight) for name, weight in weights.items() if name in raw]
    return fuse(components, len(open_), "minmax" if minmax else "percentile")


@dataclass(frozen=True)
class Knowledge:
    """What a selection rests on besides the scores.

    training_set       all human labels so far
    true_error   (c,) what only a simulation knows, for the strategy "true_error"
    performance  G: mean OKS of the last batch under the model that chose it, NaN = not known
    """

    training_set: TrainingSet
    true_error: FloatArray
    performance: float
    seed: int


def arm_fused(recording: TrueRecording, raw: Raw, arm: Arm, open_: IntArray) -> Fused:
    """What the arm chooses by, of the frames at ``open_``; without a score, NaN."""
    return _fused(raw, arm.weights(product_weights(recording)), open_, minmax=arm.minmax)


def pick(design: Design, recording: TrueRecording, seen: Scan, raw: Raw, arm: Arm, known: Knowledge) -> IntArray:
    """(b,) rows of the recording to label next, the first of the order first."""
    if arm.whole == IDLE:
        return seen.rows[:0]
    open_ = np.flatnonzero(~np.isin(seen.rows, known.training_set.rows))
    open_ = open_[np.unique(recording.frame_of[seen.rows[open_]], return_index=True)[1]]
    rows = seen.rows[open_]
    fused = arm_fused(recording, {**raw, TRUE_ERROR: mean_of_frame(recording, seen.rows, known.true_error)}, arm, open_)
    features = uncertain = None
    if arm.strategy not in (Strategy.TOP, Strategy.RANDOM):
        features = _features(recording, seen, open_, known.training_set, arm)
    if arm.strategy is Strategy.HYBRID:
        uncertain = filter_views(_of_the_least_sure(recording, seen, rows), fused.total, design.batch)
    labelled_share = recording.count_frames(known.training_set.rows) / recording.count_frames(recording.pool)
    performance, trade_off = _balance(arm, known, labelled_share)
    params = Params(
        window=design.batch,
        batch=design.batch,
        strategy=arm.strategy,
        performance=performance,
        trade_off=trade_off,
        exclusion_frames=design.exclusion_frames,
        random_every=0,
        seed=known.seed,
    )
    chosen = select(Pool.from_keys([recording.keys[row] for row in rows]), fused, params, features=features, uncertain=uncertain)
    picked = rows[[choice.position for choice in chosen.picks]]
    if recording.frame is None:
        return picked
    return np.concatenate([recording.rows_of(frame) for frame in recording.frame_of[picked]])


def _of_the_least_sure(recording: TrueRecording, seen: Scan, rows: IntArray) -> FloatArray:
    """(f, V, K) confidences of the frames of these rows; of several figures that of which the network is least sure."""
    positions = np.flatnonzero(np.isin(recording.frame_of[seen.rows], recording.frame_of[rows]))
    confidence = seen.prediction.confidence[positions]
    if recording.subject is None:
        return confidence
    found, _ = by_frame(recording, seen.rows[positions], confidence)
    sure, _ = masked_mean(found, axis=(2, 3))
    least = np.where(np.isfinite(sure), sure, np.inf).argmin(axis=1)
    return np.asarray(found[np.arange(len(found)), least])


def _balance(arm: Arm, known: Knowledge, labelled_share: float) -> tuple[float, float]:
    """G and lambda.  DUW without G, distance + lambda · score, is DUW with G = 1/2 up to a common factor."""
    factor = 1.0 if arm.trade_off is None else arm.trade_off
    by_share = {"": 1.0, "fixed": 1.0, "increase": labelled_share, "decrease": 1 - labelled_share}
    return (0.5 if arm.weighing else known.performance), factor * by_share[arm.weighing]


def _features(recording: TrueRecording, seen: Scan, open_: IntArray, training_set: TrainingSet, arm: Arm) -> FeatureSet:
    """3-D poses against the true labelled ones; without a rig, for "hybrid", and on demand the network's features."""
    space = arm.space or ("features" if arm.strategy is Strategy.HYBRID else "poses")
    if space == "poses" and seen.triangulated is not None and recording.xyz is not None and recording.subject is not None:
        frames = np.flatnonzero(np.isin(recording.frame_of[seen.rows], recording.frame_of[seen.rows[open_]]))
        poses, _ = by_frame(recording, seen.rows[frames], seen.triangulated.xyz_world[frames])
        known, _ = by_frame(recording, training_set.rows, recording.xyz[training_set.rows])
        return FeatureSet(pose3d_features(poses, recording.skeleton), "pose_set", pose3d_features(known, recording.skeleton))
    if space == "poses" and seen.triangulated is not None and recording.xyz is not None:
        return FeatureSet(
            pose3d_features(seen.triangulated.xyz_world[open_], recording.skeleton),
            "mean_joint",
            pose3d_features(recording.xyz[training_set.rows], recording.skeleton),
        )
    mean = seen.prediction.outputs[Output.FEATURES]
    mean = mean.mean(axis=1) if recording.found is None else masked_mean(mean, axis=1)[0].astype(np.float32)
    mean = mean_of_frame(recording, seen.rows, mean)
    return FeatureSet(mean[open_], "l2", mean[np.isin(seen.rows, training_set.rows)])


def pseudo_label(
    design: Design, recording: TrueRecording, seen: Scan, arm: Arm, excluded: IntArray, previous: IntArray
) -> tuple[PseudoLabels, TrainingSet]:
    """The pseudo-labels of the next model (Feng et al. 2023, algorithm 2), and the same as a training_set.

    excluded  rows labelled or just picked;  previous  rows of the last pseudo-labels, which sit out a round
    """
    assert recording.rig is not None
    assert seen.triangulated is not None
    ratio = design.pseudo_ratio if arm.pseudo_ratio is None else arm.pseudo_ratio
    row_of = {recording.keys[row]: int(row) for row in seen.rows}

    def keys(rows: IntArray) -> list[FrameKey]:
        return [recording.keys[row] for row in rows]

    labels = propose(
        keys(seen.rows),
        seen.triangulated,
        {recording.keys[0].sequence: recording.rig},
        human_batch=design.batch,
        previous=keys(previous) if arm.pseudo == "pseudo" else (),
        excluded=keys(excluded),
        params=PseudoParams(max_ratio=ratio, per_joint=design.pseudo_per_joint),
    )
    rows = np.array([row_of[key] for key in labels.keys], dtype=np.int64)
    return labels, TrainingSet(rows, labels.xy_px, labels.weight * design.pseudo_weight)
