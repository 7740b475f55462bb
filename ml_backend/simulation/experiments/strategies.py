"""What a network says about the pool → which frames are labelled next, and which are pseudo-labelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from label_config.values import FloatArray, FrameKey, IntArray, PointState
from label_config.values.prediction import Output
from ml_backend.acquisition.feature_spaces import FeatureSet
from ml_backend.acquisition.features import pose3d_features
from ml_backend.acquisition.fusion import Component, Fused, fuse
from ml_backend.acquisition.hybrid import filter_views
from ml_backend.acquisition.order_window import Params, Strategy
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.score import Chunk, Context, Labelled
from ml_backend.acquisition.score_registry import default_weights, make_scores
from ml_backend.acquisition.selection import select
from ml_backend.labels.pseudo_labelling import PseudoLabels, PseudoParams, propose
from ml_backend.simulation.experiments.data import TrueRecording
from ml_backend.simulation.experiments.design import IDLE, REFERENCES, SPECIAL, Arm, Design
from ml_backend.simulation.experiments.learner import Scan, TrainingSet
from ml_backend.simulation.experiments.results_table import WATCHED

Raw = Mapping[str, FloatArray]


def product_weights(recording: TrueRecording) -> dict[str, float]:
    """The weights of the fused score that the product takes by default for such a recording."""
    return default_weights(has_rig=recording.rig is not None, has_video=recording.video, n_views=len(recording.pictures))


def score_pool(recording: TrueRecording, seen: Scan, training_set: TrainingSet, arm: Arm) -> dict[str, FloatArray]:
    """Score name → (c,) raw values of the frames in ``seen``, for the watched scores, the arm's own, and "total" (fused)."""
    weights = product_weights(recording)
    wanted = {*WATCHED[1:], *weights} | ({arm.strategy} - {*SPECIAL, *REFERENCES})
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
    human = Labelled(
        training_set.xy_px,
        np.where(training_set.weight > 0, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64),
        recording.size_px,
        None if recording.xyz is None else recording.xyz[training_set.rows],
    )
    raw = {}
    for score in make_scores(sorted(wanted)):
        if score.requires - {Context.LABELS} <= chunk.available:
            raw[score.name] = score.score(chunk, score.fit(human, recording.rig, recording.skeleton)).raw
    raw["total"] = _fused(raw, weights, np.arange(len(index))).total
    return raw


def _fused(raw: Raw, weights: Mapping[str, float], open_: IntArray) -> Fused:
    components = [Component(name, raw[name][open_], weight) for name, weight in weights.items() if name in raw]
    return fuse(components, len(open_))


@dataclass(frozen=True)
class Knowledge:
    """What a selection rests on besides the scores.

    training_set       all human labels so far
    true_error   (c,) what only a simulation knows, for the strategy "true_error"
    performance  share of right points in the last batch before it was learnt, NaN = not known
    """

    training_set: TrainingSet
    true_error: FloatArray
    performance: float
    seed: int


def pick(design: Design, recording: TrueRecording, seen: Scan, raw: Raw, arm: Arm, known: Knowledge) -> IntArray:
    """(b,) rows of the recording to label next, the first of the order first."""
    if arm.strategy == IDLE:
        return seen.rows[:0]
    taken = np.isin(seen.rows, known.training_set.rows)
    open_ = np.flatnonzero(~taken)
    rows = seen.rows[open_]
    pool = Pool.from_keys([recording.keys[row] for row in rows])
    strategy, fused, features, uncertain = Strategy.TOP, fuse([], len(open_)), None, None
    if arm.strategy == "random":
        strategy = Strategy.RANDOM
    elif arm.strategy == "coreset":
        strategy, features = Strategy.K_CENTER, _features(recording, seen, open_, known.training_set)
    elif arm.strategy in ("composite", "duw", "k_median"):
        strategy = Strategy.DUW if arm.strategy == "duw" else Strategy.K_MEDIAN
        features = _features(recording, seen, open_, known.training_set)
        fused = fused if arm.strategy == "k_median" else _fused(raw, product_weights(recording), open_)
    elif arm.strategy == "hybrid":
        strategy, features = Strategy.HYBRID, _embedding(seen, open_, known.training_set)
        fused = fuse([Component("least_confidence", raw["least_confidence"][open_])], len(open_))
        uncertain = filter_views(seen.prediction.confidence[open_], fused.total, design.batch)
    else:
        value = known.true_error if arm.strategy == "true_error" else raw[arm.strategy]
        fused = fuse([Component(arm.strategy, value[open_])], len(open_))
    params = Params(
        window=design.batch,
        batch=design.batch,
        strategy=strategy,
        performance=known.performance,
        exclusion_frames=design.exclusion_frames,
        random_every=0,
        seed=known.seed,
    )
    chosen = select(pool, fused, params, features=features, uncertain=uncertain)
    return rows[[choice.position for choice in chosen.picks]]


def _features(recording: TrueRecording, seen: Scan, open_: IntArray, training_set: TrainingSet) -> FeatureSet:
    """3-D poses against the true labelled ones; without a rig the network's own view of pool and labelled frames."""
    if seen.triangulated is not None and recording.xyz is not None:
        return FeatureSet(
            pose3d_features(seen.triangulated.xyz_world[open_], recording.skeleton),
            "mean_joint",
            pose3d_features(recording.xyz[training_set.rows], recording.skeleton),
        )
    return _embedding(seen, open_, training_set)


def _embedding(seen: Scan, open_: IntArray, training_set: TrainingSet) -> FeatureSet:
    """The network's own view, mean over the cameras."""
    mean = seen.prediction.outputs[Output.FEATURES].mean(axis=1)
    return FeatureSet(mean[open_], "l2", mean[np.isin(seen.rows, training_set.rows)])


def pseudo_label(
    design: Design, recording: TrueRecording, seen: Scan, arm: Arm, excluded: IntArray, previous: IntArray
) -> tuple[PseudoLabels, TrainingSet]:
    """The pseudo-labels of the next model (Feng et al. 2023, algorithm 2), and the same as a training_set.

    excluded  rows labelled or just picked;  previous  rows of the last pseudo-labels, which sit out a round
    """
    assert recording.rig is not None
    assert seen.triangulated is not None
    row_of = {recording.keys[row]: int(row) for row in seen.rows}

    def keys(rows: IntArray) -> list[FrameKey]:
        return [recording.keys[row] for row in rows]

    labels = propose(
        keys(seen.rows),
        seen.triangulated,
        {recording.keys[0].sequence: recording.rig},
        human_batch=design.batch,
        previous=keys(previous) if arm.pseudo == "on" else (),
        excluded=keys(excluded),
        params=PseudoParams(max_ratio=design.pseudo_ratio, per_joint=design.pseudo_per_joint),
    )
    rows = np.array([row_of[key] for key in labels.keys], dtype=np.int64)
    return labels, TrainingSet(rows, labels.xy_px, labels.weight * design.pseudo_weight)
