"""Self-training: pseudo-labels proposed and written down (docs/methods.md §1.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from label_config.values import DEFAULT_SUBJECT, FrameKey, PointState, Pose2D, Provenance, Triangulation
from ml_backend.labels.distinct_subjects import without_shared_places
from ml_backend.labels.pseudo_labelling import PseudoLabels, PseudoParams, propose
from ml_backend.project.round_state import RoundState
from ml_backend.project.several_subjects import labelled_subjects
from ml_backend.project.training_set import load_snapshot
from ml_backend.store import pseudo_labels
from ml_backend.store.frames import FrameRow
from ml_backend.store.workspace import Workspace


@dataclass(frozen=True)
class Proposal:
    """Pseudo-labels, and the frames that have any.

    positions  of these frames among the rows that were asked about, each once
    frame_ids  of each pseudo-label; of several subjects a frame may have several
    subjects   of each pseudo-label; () = subject 0 in all
    """

    labels: PseudoLabels | None
    positions: list[int]
    frame_ids: list[int]
    subjects: Sequence[int] = ()


def propose_pseudo(
    state: RoundState,
    rows: Sequence[FrameRow],
    triangulated: Sequence[Triangulation],
    round_: int,
    picked: set[FrameKey],
) -> Proposal:
    """What is pseudo-labelled from the live model's predictions.

    triangulated  of each subject, batch axes (f,) as ``rows``; () without calibration, and then nothing is pseudo-labelled

    Nor is anything where people labelled more subjects than the project has: there points of two may agree on a place where
    nobody is.
    """
    spec = state.spec.pseudo_labels
    if not spec.enabled or not triangulated or state.of_several:
        return Proposal(None, [], [])
    candidates = [i for i, row in enumerate(rows) if row.split == "train" and row.id not in state.labelled and row.usable]
    several = [Triangulation(**{name: array[candidates] for name, array in vars(one).items()}) for one in triangulated]
    several = without_shared_places(several)
    chosen = Triangulation(**{name: np.concatenate([getattr(one, name) for one in several]) for name in vars(several[0])})
    previous = _trained_on(state)
    labels = propose(
        [rows[i].key for i in candidates] * len(several),
        chosen,
        state.rigs,
        human_batch=_human_batch(state, round_),
        previous={rows[i].key for i in candidates if rows[i].id in previous},
        excluded=picked,
        params=PseudoParams(
            max_ratio=spec.max_ratio,
            min_views=spec.min_views,
            min_angle_deg=spec.min_angle_deg,
            threshold_px=spec.threshold_px,
            per_joint=spec.per_joint,
        ),
    )
    subject, at = np.divmod(labels.rows, max(len(candidates), 1))
    positions = [candidates[i] for i in at.tolist()]
    return Proposal(labels, list(dict.fromkeys(positions)), [rows[i].id for i in positions], subject.tolist())


def _trained_on(state: RoundState) -> set[int]:
    """Frames whose pseudo-labels the live model was trained on."""
    row = state.live_snapshot
    return set() if row is None else set(load_snapshot(state.workspace, row).pseudo_ids.tolist())


def _human_batch(state: RoundState, round_: int) -> int:
    """Frames, of several subjects these, that people labelled in the round that the live model was trained on."""
    count = {row.frame_id: 1 for row in state.annotations if row.round == round_ - 1}
    if state.spec.subjects.max > 1:
        for row in state.annotations:
            if row.frame_id in count:
                count[row.frame_id] = max(count[row.frame_id], labelled_subjects(row.poses))
    return sum(count.values())


def store_pseudo(workspace: Workspace, proposal: Proposal, round_: int, generation: int) -> None:
    """Write the proposal down as the pseudo-labels of the round; an empty one, too, takes the place of those before."""
    labels = proposal.labels
    subjects = proposal.subjects or [DEFAULT_SUBJECT] * len(proposal.frame_ids)
    places = enumerate(zip(proposal.frame_ids, subjects, strict=True))
    rows = [] if labels is None else [_row(workspace, labels, i, frame, subject) for i, (frame, subject) in places]
    pseudo_labels.replace_round(workspace.store, round_, [{**row, "generation": generation} for row in rows])


def _row(workspace: Workspace, labels: PseudoLabels, i: int, frame_id: int, subject: int) -> dict[str, Any]:
    valid = labels.weight[i] > 0
    pose = Pose2D(
        xy_px=np.where(valid[..., None], labels.xy_px[i], np.nan),
        confidence=np.where(valid, 1.0, np.nan),
        state=np.where(valid, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64),
        provenance=np.where(valid, Provenance.PSEUDO, Provenance.NONE).astype(np.int64),
    )
    xyz = labels.xyz_world[i].astype(object)
    xyz[~np.isfinite(labels.xyz_world[i])] = None
    return {
        "frame_id": frame_id,
        "subject": subject,
        "whole": bool(labels.whole[i]),
        "xyz_world": xyz.tolist(),
        "pose": pose.to_json(),
        "weight": workspace.spec.pseudo_labels.weight,
    }
