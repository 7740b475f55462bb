"""What the strategies of a selection rest on: the space in which frames are near or far, and the filter of the hybrid one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.settings.spec import Spec
from label_config.values import BadInputError, BoolArray, Float32Array, FloatArray, FrameKey
from ml_backend.acquisition.feature_spaces import FeatureSet
from ml_backend.acquisition.features import hybrid_features, pose3d_features
from ml_backend.acquisition.hybrid import filter_views
from ml_backend.acquisition.order_window import Strategy
from ml_backend.jobs.cold_start import describe_pictures
from ml_backend.labels.snapshot import Snapshot
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.round_state import RoundState
from ml_backend.project.subject_rows import LEAST_SURE, OF_SUBJECTS
from ml_backend.store import presence
from ml_backend.store.frames import FrameRow
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace

#: Names in parallax.yaml.
STRATEGIES: Mapping[str, Strategy] = {
    "k_median": Strategy.K_MEDIAN,
    "duw": Strategy.DUW,
    "duw_paper": Strategy.DUW_PAPER,
    "kcenter": Strategy.K_CENTER,
    "k_means": Strategy.K_MEANS,
    "hybrid": Strategy.HYBRID,
    "none": Strategy.TOP,
}

Arrays = Mapping[str, npt.NDArray[Any]]
_NONE_PASS = "no frame passes the hybrid filter"


def strategy_of(spec: Spec) -> Strategy:
    """How the first batch of a window is chosen."""
    return STRATEGIES[spec.selection.diversity]


def uncertain_frames(spec: Spec, confidence: FloatArray, uncertainty: FloatArray, batch: int) -> BoolArray | None:
    """(n,) frames that pass the filter of the hybrid strategy, None for the others; see ``hybrid.filter_views``."""
    if strategy_of(spec) is not Strategy.HYBRID:
        return None
    return filter_views(confidence, uncertainty, batch, **spec.selection.hybrid.model_dump(exclude={"space"}))


def say_filtered(workspace: Workspace, passing: BoolArray) -> None:
    """Warn in the event log while no frame passes the filter of the hybrid strategy."""
    if passing.any() or not len(passing):
        presence.settle(workspace.store, _NONE_PASS)
        return
    presence.tell(
        workspace.store,
        f"selection.hybrid: none of {len(passing)} frames passes the filter, so it has no effect: this network finds every "
        f"keypoint with more than {workspace.spec.selection.hybrid.found:g} (found); set selection.hybrid.quantile, such as 0.3",
        level=EventLevel.WARNING,
        key=_NONE_PASS,
    )


def embedded_frames(workspace: Workspace, rows: Sequence[FrameRow], positions: Sequence[int], passing: BoolArray) -> FeatureSet:
    """The frames at ``positions`` among ``rows`` in the space of ``cold_start.embedding``; those that do not pass have no place.

    Raises BadInputError where parallax.yaml names no embedding.
    """
    if workspace.spec.cold_start.embedding is None:
        raise BadInputError(
            "selection.hybrid.space: 'embedding' needs cold_start.embedding, the hub name or folder of a network such as "
            "microsoft/resnet-50; it is null"
        )
    described = np.flatnonzero(passing)
    with closing(Pictures(workspace)) as pictures:
        features = describe_pictures(workspace, [rows[positions[i]] for i in described], pictures, every=True)
    found = np.full((len(positions), features.shape[1]), np.nan, dtype=np.float32)
    found[described] = features
    return FeatureSet(found, "l2", None, "embedding of pictures")


def feature_space(
    state: RoundState, snapshot: Snapshot, rows: Sequence[FrameRow], arrays: Arrays, positions: Sequence[int], labelled: Set[int]
) -> tuple[FeatureSet, list[FrameKey]]:
    """The space of the frames at ``positions`` among ``rows``, and the keys of its labelled rows (docs/methods.md §10.2).

    arrays    what the model predicted for ``rows``
    labelled  ids of the labelled frames

    Poses in 3-D with a calibration; else the network's own view of the pictures, joined by the poses in them where there are
    several cameras.  The hybrid strategy always takes the network's view (docs/methods.md §5).  Without features: the poses.
    Of several subjects all of them count, by the cheapest assignment (docs/methods.md §1.4).
    """
    several = LEAST_SURE in arrays
    hybrid = strategy_of(state.spec) is Strategy.HYBRID and "features" in arrays
    if "xyz_world" in arrays and not hybrid:
        return (_sets_in_3d if several else _in_3d)(state, snapshot, arrays, positions)
    mine = [i for i, row in enumerate(rows) if row.id in labelled]
    keys = [rows[i].key for i in mine]
    said = _one_by_one(arrays) if several else arrays
    parts, names = [], []
    if "features" in said:
        parts.append(np.asarray(said["features"], dtype=np.float32))
        names.append("embedding")
    if not hybrid and (len(state.views) > 1 or not parts):
        parts.append(_in_the_picture(state, said))
        names.append("pose2d")
    values = parts[0] if len(parts) == 1 else np.concatenate([_standardised(part) for part in parts], axis=1)
    if several:
        sets = values.reshape(len(rows), -1, 1, values.shape[1])
        return FeatureSet(sets[positions], "pose_set", sets[mine], "+".join(names)), keys
    return FeatureSet(values[positions], "l2", values[mine], "+".join(names)), keys


def _one_by_one(arrays: Arrays) -> Arrays:
    """(n, S, ...) arrays of every subject → (n · S, ...)."""
    every = {name: arrays[OF_SUBJECTS + name] for name in ("features", "xy_px") if OF_SUBJECTS + name in arrays}
    return {name: array.reshape(-1, *array.shape[2:]) for name, array in every.items()}


def _sets_in_3d(
    state: RoundState, snapshot: Snapshot, arrays: Arrays, positions: Sequence[int]
) -> tuple[FeatureSet, list[FrameKey]]:
    """As :func:`_in_3d`, the poses of all subjects of a frame together."""
    poses = arrays[OF_SUBJECTS + "xyz_world"]
    known = np.asarray(np.isfinite(snapshot.xyz_world).all(axis=-1).any(axis=-1)) & (snapshot.subjects < poses.shape[1])
    keys = sorted({key for key, there in zip(snapshot.keys, known, strict=True) if there})
    place = {key: i for i, key in enumerate(keys)}
    labelled = np.full((len(keys), *poses.shape[1:]), np.nan)
    for row in np.flatnonzero(known).tolist():
        labelled[place[snapshot.keys[row]], snapshot.subjects[row]] = snapshot.xyz_world[row]
    skeleton, unit = state.binding.skeleton, next(iter(state.rigs.values())).unit
    rows, references = pose3d_features(poses[positions], skeleton), pose3d_features(labelled, skeleton)
    return FeatureSet(rows, "pose_set", references, "pose3d_root", unit), keys


def _in_3d(state: RoundState, snapshot: Snapshot, arrays: Arrays, positions: Sequence[int]) -> tuple[FeatureSet, list[FrameKey]]:
    skeleton = state.binding.skeleton
    known = np.asarray(np.isfinite(snapshot.xyz_world).all(axis=-1).any(axis=-1))
    keys = [key for key, there in zip(snapshot.keys, known, strict=True) if there]
    unit = next(iter(state.rigs.values())).unit
    poses = pose3d_features(arrays["xyz_world"][positions], skeleton)
    return FeatureSet(poses, "mean_joint", pose3d_features(snapshot.xyz_world[known], skeleton), "pose3d_root", unit), keys


def _in_the_picture(state: RoundState, arrays: Arrays) -> Float32Array:
    """(n, D) limb vectors and angles of all views, missing ones at their mean; NaN where no view has any."""
    features = hybrid_features(arrays["xy_px"], state.binding.skeleton).reshape(len(arrays["xy_px"]), -1)
    known = np.isfinite(features)
    count = known.sum(axis=0)
    mean = np.where(known, features, 0.0).sum(axis=0) / np.maximum(count, 1)
    filled = np.where(known, features, mean)
    filled[~known.any(axis=1)] = np.nan
    return filled.astype(np.float32)


def _standardised(features: Float32Array) -> Float32Array:
    """Scaled to unit total variance, so that no part of a combined space outweighs another."""
    complete = np.isfinite(features).all(axis=1)
    spread = float(np.sqrt(features[complete].var(axis=0, dtype=np.float64).sum())) if complete.any() else 0.0
    return np.asarray(features / (spread or 1.0), dtype=np.float32)
