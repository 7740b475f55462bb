"""The scores of a project, fitted on the labels of the live model, applied to shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from label_config.settings.learning_settings import ScoreSettings
from label_config.values import BoolArray, FloatArray, IntArray, Triangulation
from label_config.values.prediction import Output, Prediction
from ml_backend.acquisition.score import Chunk, Context, Labelled, Need, Score, Scores, Source, State
from ml_backend.acquisition.score_registry import default_weights, make_scores
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.labels.snapshot import Snapshot
from ml_backend.pose.config import Auxiliary, auxiliaries_for
from ml_backend.project.round_state import RoundState
from ml_backend.project.subject_rows import STRONGEST
from ml_backend.store.frames import FrameRow
from ml_backend.store.workspace import Workspace

#: Neighbours farther apart than this many times the usual distance are not neighbours.
GAP = 2.5


@dataclass(frozen=True)
class Chosen:
    """The scores of a project and their weights: score name → weight; 0 = recorded, not counted."""

    scores: tuple[Score, ...]
    weights: Mapping[str, float]

    def wants(self, need: Need) -> bool:
        """Some score reads it."""
        return any(need in score.requires for score in self.scores)


@dataclass(frozen=True)
class ScoreKit:
    """Everything that scoring a shard needs and that is the same for all shards of a version.

    states  score name → what it learnt from labels
    videos  sequences whose frames follow each other in time
    steps   sequence → frame numbers from one of its frames to the next, usually
    """

    chosen: Chosen
    states: Mapping[str, State | None]
    rigs: Mapping[str, Rig]
    videos: frozenset[str]
    steps: Mapping[str, float]


def choose_scores(state: RoundState) -> Chosen:
    """Scores by name from parallax.yaml, or the defaults for what the project has (docs/methods.md §10.2).

    Raises BadInputError for an unknown score or parameter.
    """
    settings = state.spec.scores
    if settings != "auto":
        scores = make_scores({name: given.parameters for name, given in settings.items()})
        return Chosen(scores, {name: given.weight for name, given in settings.items()})
    weights = default_weights(has_rig=bool(state.rigs), has_video=bool(state.videos), n_views=len(state.views))
    return Chosen(make_scores(weights.keys()), weights)


def make_kit(state: RoundState, snapshot: Snapshot, crop_px: FloatArray | None = None, source: Source | None = None) -> ScoreKit:
    """The project's scores, with what they learn from the labels.

    crop_px  (m, V, 4) the crops in which the labelled pictures would be predicted, None = the subject's boxes
    source   poses of the project that the common model comes from
    """
    chosen, labelled = choose_scores(state), _labelled(state, snapshot, crop_px, source)
    rig = next(iter(state.rigs.values()), None)
    states = {score.name: score.fit(labelled, rig, state.binding.skeleton) for score in chosen.scores}
    return ScoreKit(chosen, states, state.rigs, state.videos, usual_steps(list(state.frames.values())))


def usual_steps(rows: Sequence[FrameRow]) -> dict[str, float]:
    """Sequence → median distance in frame numbers of frames that follow each other; ``rows`` ordered by sequence and number."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        numbers[row.key.sequence].append(row.key.index)
    return {name: float(np.median(np.diff(of))) if len(of) > 1 else 1.0 for name, of in numbers.items()}


def auxiliary_networks(
    scores: Literal["auto"] | Mapping[str, ScoreSettings], *, limb_refinement: bool = False
) -> tuple[Auxiliary, ...]:
    """The auxiliary networks that must be trained beside the pose network for scores and predictions of parallax.yaml."""
    needs = frozenset[Need]() if scores == "auto" else frozenset[Need]().union(*(s.requires for s in make_scores(list(scores))))
    return auxiliaries_for(needs | {Output.LINKS} if limb_refinement else needs)


def labelled_sizes(state: RoundState, snapshot: Snapshot) -> FloatArray:
    """(V, 2) width and height of the labelled pictures of each view, NaN = not known."""
    size = np.full((len(state.views), 2), np.nan)
    for frame_id in snapshot.frame_ids.tolist():
        for v, view in enumerate(state.views):
            ref = state.frames[frame_id].images.get(view)
            if ref is not None and ref.size_px is not None:
                size[v] = ref.size_px
    return size


def _labelled(state: RoundState, snapshot: Snapshot, crop_px: FloatArray | None, source: Source | None) -> Labelled:
    xyz = snapshot.xyz_world if np.isfinite(snapshot.xyz_world).any() else None
    boxes = snapshot.box_px if crop_px is None else crop_px
    return Labelled(snapshot.xy_px, snapshot.state, labelled_sizes(state, snapshot), xyz, boxes, source)


def score_chunk(
    workspace: Workspace, kit: ScoreKit, sequence: str, index: Sequence[int], core: IntArray, prediction: Prediction
) -> dict[str, npt.NDArray[np.generic]]:
    """Arrays of the core frames of a shard, at these positions: predictions, triangulation and every score."""
    rig = kit.rigs.get(sequence)
    triangulated = (
        triangulate_robust(rig, prediction.xy_px, threshold_px=workspace.spec.pseudo_labels.threshold_px) if rig else None
    )
    numbers = np.array(index, dtype=np.int64)
    usual = kit.steps.get(sequence, 1.0)
    chunk = Chunk(
        sequence=sequence,
        index=numbers,
        core=core,
        prediction=prediction,
        size_px=_sizes(prediction),
        triangulated=triangulated,
        gap=_gaps(kit, sequence, numbers),
        step=usual,
        rig=rig,
        skeleton=workspace.binding.skeleton,
    )
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "index": numbers[core],
        "xy_px": prediction.xy_px[core],
        "confidence": prediction.confidence[core],
    }
    if Output.FEATURES in prediction.outputs:
        arrays["features"] = _mean_over_views(prediction.outputs[Output.FEATURES][core])
    if triangulated is not None:
        for name in ("xyz_world", "inlier", "reprojection_px", "angle_deg", "consensus", "covariance"):
            arrays[name] = getattr(triangulated, name)[core]
    for score in kit.chosen.scores:
        if score.requires - {Context.LABELS} <= chunk.available:
            arrays |= _named(score.name, score.score(chunk, kit.states[score.name]))
    return arrays


def score_subjects_together(
    workspace: Workspace,
    kit: ScoreKit,
    sequence: str,
    index: Sequence[int],
    core: IntArray,
    xy_px: FloatArray,
    pictures: BoolArray,
) -> dict[str, npt.NDArray[np.generic]]:
    """Arrays of the scores that compare the subjects of a frame, for the core frames.

    xy_px     (n, S, V, K, 2) predicted points of every subject, NaN = none
    pictures  (n, V) the camera has a picture of the frame
    """
    numbers, usual = np.array(index, dtype=np.int64), kit.steps.get(sequence, 1.0)
    chunk = Chunk(
        sequence=sequence,
        index=numbers,
        core=core,
        prediction=Prediction.nothing((len(xy_px), *xy_px.shape[2:3]), xy_px.shape[3]),
        size_px=np.full((xy_px.shape[2], 2), np.nan),
        gap=_gaps(kit, sequence, numbers),
        step=usual,
        rig=kit.rigs.get(sequence),
        skeleton=workspace.binding.skeleton,
        subjects=xy_px,
        pictures=pictures,
    )
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for score in kit.chosen.scores:
        if Context.SUBJECTS in score.requires and score.requires <= chunk.available:
            found = score.score(chunk, None)
            arrays |= _named(score.name, found)
            if found.subject is not None:
                arrays[STRONGEST + score.name] = found.subject
    return arrays


def _gaps(kit: ScoreKit, sequence: str, numbers: IntArray) -> BoolArray:
    """(n,) the frame does not follow the one before it in the array."""
    far = np.diff(numbers, prepend=numbers[:1]) > GAP * kit.steps.get(sequence, 1.0)
    return np.asarray(far | (sequence not in kit.videos))


def _named(name: str, scores: Scores) -> dict[str, npt.NDArray[np.generic]]:
    arrays: dict[str, npt.NDArray[np.generic]] = {f"raw.{name}": scores.raw, f"support.{name}": scores.support}
    if scores.per_point is not None:
        arrays[f"point.{name}"] = scores.per_point.astype(np.float32)
    return arrays


def _sizes(prediction: Prediction) -> FloatArray:
    """(V, 2) the size that the pictures of each view have, NaN for a view without any picture."""
    size_px = prediction.size_px
    views = prediction.xy_px.shape[1]
    if size_px is None or not len(size_px):
        return np.full((views, 2), np.nan)
    first = np.isfinite(size_px).all(axis=-1).argmax(axis=0)
    return np.asarray(size_px[first, np.arange(views)], dtype=np.float64)


def _mean_over_views(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    seen = np.isfinite(features).all(axis=-1, keepdims=True)
    count = seen.sum(axis=1)
    total = np.where(seen, features, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), dtype=np.float32)


def triangulation_of(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Triangulation | None:
    """The triangulation that :func:`score_chunk` wrote, None without a rig."""
    names = ("xyz_world", "inlier", "reprojection_px", "covariance", "angle_deg", "consensus")
    if "xyz_world" not in arrays:
        return None
    return Triangulation(*(np.asarray(arrays[name]) for name in names))
