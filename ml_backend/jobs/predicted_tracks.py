"""What the live model says about the recordings: its points in every camera, and their places in 3-D."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from label_config.values import DEFAULT_SUBJECT, BoolArray, FloatArray, IntArray, ParallaxError, PointState
from ml_backend.formats.anipose_files import WorldTrack
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.jobs.scoring import triangulation_of
from ml_backend.project.round_state import RoundState
from ml_backend.project.scored_shards import ScoredShards, newest_scored_shards
from ml_backend.project.subject_rows import LEAST_SURE, arrays_of_subject
from ml_backend.store.workspace import Workspace


@dataclass(frozen=True)
class Predicted:
    """labels have a confidence; world is by recording, without those that have no calibration."""

    version: int
    labels: LabelSet
    world: dict[str, WorldTrack]
    notes: tuple[str, ...]


def predicted_of(workspace: Workspace) -> Predicted:
    """Every frame of the newest rescan.  Raises ParallaxError before there is one."""
    state = RoundState(workspace)
    live = state.live
    scored = newest_scored_shards(state, live, state.round) if live is not None else None
    if live is None or scored is None:
        raise ParallaxError("no predictions yet: `parallax train` makes a model and `parallax rescore` lets it see every frame")
    notes = []
    total = sum(bool(row.usable) for row in state.frames.values())
    if len(scored.rows) < total:
        notes.append(
            f"px-{live.number} has seen {len(scored.rows)} of {total} frames; more with selection.candidates_per_round and "
            "`parallax rescore`"
        )
    return Predicted(live.number, _labels(state, scored), _world(state, scored), tuple(notes))


def _labels(state: RoundState, scored: ScoredShards) -> LabelSet:
    several = range(state.spec.subjects.max) if LEAST_SURE in scored.arrays else (DEFAULT_SUBJECT,)
    labels = [label for subject in several for label in _labels_of(state, scored, subject)]
    return LabelSet(state.binding.skeleton, tuple(labels))


def _labels_of(state: RoundState, scored: ScoredShards, subject: int) -> Iterator[LabelledImage]:
    arrays = arrays_of_subject(scored.arrays, subject)
    xy, confidence = arrays["xy_px"], arrays["confidence"]
    placed: BoolArray = np.asarray(np.isfinite(xy).all(axis=-1))
    visible: IntArray = np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)
    for i, row in enumerate(scored.rows):
        for v, view in enumerate(state.views):
            if view in row.images and placed[i, v].any():
                yield LabelledImage(
                    row.images[view],
                    np.where(placed[i, v, :, None], xy[i, v], np.nan),
                    visible[i, v],
                    view=view,
                    key=row.key,
                    subject=subject,
                    confidence=np.where(placed[i, v], np.clip(confidence[i, v], 0.0, 1.0), np.nan),
                )


def _world(state: RoundState, scored: ScoredShards) -> dict[str, WorldTrack]:
    found = triangulation_of(scored.arrays)
    if found is None or LEAST_SURE in scored.arrays:  # files of places in the world are of one subject
        return {}
    inlier: BoolArray = found.inlier.astype(np.bool_)
    error = _mean(found.reprojection_px, inlier)
    least = np.where(inlier, scored.arrays["confidence"], np.inf).min(axis=1)
    rigs = state.rigs
    members: dict[str, list[int]] = defaultdict(list)
    for position, row in enumerate(scored.rows):
        if row.key.sequence in rigs:
            members[row.key.sequence].append(position)
    return {
        sequence: WorldTrack(
            rigs[sequence].unit,
            np.array([scored.rows[i].key.index for i in at], dtype=np.int64),
            found.xyz_world[at],
            error[at],
            inlier.sum(axis=1)[at],
            np.where(np.isfinite(least), least, np.nan)[at],
        )
        for sequence, at in members.items()
    }


def _mean(values: FloatArray, chosen: BoolArray) -> FloatArray:
    """(n, K) over the cameras (axis 1) that are chosen, NaN without any."""
    known = chosen & np.isfinite(values)
    count = known.sum(axis=1)
    return np.asarray(np.where(count > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan))
