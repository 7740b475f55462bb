"""Self-training: pseudo-labels proposed, written down and withdrawn (docs/methods.md §1.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from label_config.values import DEFAULT_SUBJECT, FloatArray, FrameKey, PointState, Pose2D, Provenance, Triangulation
from ml_backend.geometry.view_agreement import agreement_px
from ml_backend.labels.pseudo_labelling import PseudoLabels, PseudoParams, propose
from ml_backend.project.label_snapshot import rigs_of
from ml_backend.store import pseudo_labels, submissions
from ml_backend.store.frames import FrameRow
from ml_backend.store.workspace import Workspace


@dataclass(frozen=True)
class Proposal:
    """Pseudo-labels with the positions of their frames among the rows that were asked about."""

    labels: PseudoLabels | None
    positions: list[int]
    frame_ids: list[int]


def propose_pseudo(
    workspace: Workspace,
    rows: Sequence[FrameRow],
    triangulated: Triangulation | None,
    round_: int,
    picked: set[FrameKey],
    labelled: set[int],
) -> Proposal:
    """What is pseudo-labelled with the newest model; nothing without calibration."""
    spec = workspace.spec.pseudo_labels
    if not spec.enabled or triangulated is None:
        return Proposal(None, [], [])
    candidates = [i for i, row in enumerate(rows) if row.split == "train" and row.id not in labelled and row.usable]
    chosen = Triangulation(**{name: getattr(triangulated, name)[candidates] for name in vars(triangulated)})
    position = {rows[i].key: i for i in candidates}
    before = pseudo_labels.list_pseudo(workspace.store, round_=round_ - 1, withdrawn=True)
    previous = {row.frame_id for row in before}
    labels = propose(
        [rows[i].key for i in candidates],
        chosen,
        rigs_of(workspace),
        human_batch=_human_batch(workspace, round_),
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
    positions = [position[key] for key in labels.keys]
    return Proposal(labels, positions, [rows[i].id for i in positions])


def _human_batch(workspace: Workspace, round_: int) -> int:
    """Frames that people labelled in the round that the live model was trained on."""
    rows = submissions.list_annotations(workspace.store)
    return len({row.frame_id for row in rows if row.round == round_ - 1})


def withdraw_disagreeing(workspace: Workspace, rows: Sequence[FrameRow], xy_px: FloatArray, round_: int) -> int:
    """Take back the previous round's pseudo-labels that the new model puts elsewhere; how many.

    xy_px  (f, V, K, 2) the new model's predictions, in the order of ``rows``

    A frame loses its mark when any of its accepted keypoints lies, in the median over views, farther away than what counts as
    agreement between views.
    """
    given, rigs = workspace.spec.pseudo_labels.threshold_px, rigs_of(workspace)
    held = {row.frame_id: row for row in pseudo_labels.list_pseudo(workspace.store, round_=round_ - 1)}
    gone = []
    for i, frame in enumerate(rows):
        row = held.get(frame.id)
        if row is None or frame.key.sequence not in rigs:
            continue
        accepted = Pose2D.from_json(row.pose).xy_px
        limit = agreement_px(rigs[frame.key.sequence], accepted, given)
        distance = np.linalg.norm(accepted - xy_px[i], axis=-1) / limit[:, None]
        known = np.isfinite(distance)
        keypoints = known.any(axis=0)
        median = np.nanmedian(np.where(known, distance, np.nan)[:, keypoints], axis=0)
        if (median > 1).any():
            gone.append(row.id)
    pseudo_labels.withdraw(workspace.store, gone)
    return len(gone)


def store_pseudo(workspace: Workspace, proposal: Proposal, round_: int, generation: int) -> None:
    """Write the proposal down as the pseudo-labels of the round."""
    labels = proposal.labels
    if labels is None:
        return
    rows = []
    for i, frame_id in enumerate(proposal.frame_ids):
        valid = labels.weight[i] > 0
        pose = Pose2D(
            xy_px=np.where(valid[..., None], labels.xy_px[i], np.nan),
            confidence=np.where(valid, 1.0, np.nan),
            state=np.where(valid, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64),
            provenance=np.where(valid, Provenance.PSEUDO, Provenance.NONE).astype(np.int64),
        )
        xyz = labels.xyz_world[i].astype(object)
        xyz[~np.isfinite(labels.xyz_world[i])] = None
        rows.append(
            {
                "frame_id": frame_id,
                "subject": DEFAULT_SUBJECT,
                "generation": generation,
                "whole": bool(labels.whole[i]),
                "xyz_world": xyz.tolist(),
                "pose": pose.to_json(),
                "weight": workspace.spec.pseudo_labels.weight,
            }
        )
    pseudo_labels.replace_round(workspace.store, round_, rows)
