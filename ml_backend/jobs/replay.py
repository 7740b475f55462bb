"""Which labelled frames a recipe trains on, and which it evaluates to stop early."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from label_config.values import BoolArray, FloatArray, IntArray
from ml_backend.labels.snapshot import Snapshot
from ml_backend.labels.split import TRAIN
from ml_backend.metrics.oks import pose_oks
from ml_backend.pose.presets import acft_training_set
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.load_model import load_predictor
from ml_backend.project.predict_frames import predict_frames
from ml_backend.project.round_state import RoundState
from ml_backend.project.splitting import rules_of
from ml_backend.project.subject_rows import labelled_rows
from ml_backend.project.training_set import load_snapshot
from ml_backend.store.versions import VersionRow

#: Share of the training frames that early stopping evaluates.  Never validation frames: those evaluate the outcome.
HELD_OUT = 0.1


def misestimated(now: RoundState, parent: VersionRow, snapshot: Snapshot, rows: IntArray, pictures: Pictures) -> IntArray:
    """The rows that ACFT trains on: frames that ``parent`` has not seen, and those that it still gets wrong."""
    workspace, known = now.workspace, {row.id: row for row in now.snapshots}
    before = known.get(parent.snapshot_id) if parent.snapshot_id is not None else None
    seen = load_snapshot(workspace, before).frame_ids if before else np.zeros(0, np.int64)
    is_new: BoolArray = ~np.isin(snapshot.frame_ids[rows], seen)
    similarity = np.full(len(rows), np.nan)
    similarity[~is_new] = similarities(now, parent, snapshot, rows[~is_new], pictures)
    spec = workspace.spec
    return rows[acft_training_set(similarity, is_new, spec.stop.oks, spec.train.acft.margin)]


def similarities(now: RoundState, version: VersionRow, snapshot: Snapshot, rows: IntArray, pictures: Pictures) -> FloatArray:
    """(m,) OKS of the version's predictions against people's points, mean over the views; NaN where nothing compares."""
    if not len(rows):
        return np.zeros(0)
    model = load_predictor(now.workspace, now.workspace.models / version.path)
    predicted = predict_frames(now.workspace, model, labelled_rows(now, snapshot, rows), pictures).xy_px
    sigmas = np.array(now.binding.skeleton.sigmas)
    return pose_oks(predicted, snapshot.xy_px[rows], snapshot.human[rows], sigmas, snapshot.box_px[rows])


def early_stop_part(now: RoundState, snapshot: Snapshot, rows: IntArray) -> npt.NDArray[np.str_]:
    """(len(rows),) "train", "val" for the frames that early stopping evaluates, "guard" for those next to them.

    Whole blocks of time, as in the project's validation split, because single frames beside their neighbours would be near
    copies of what is trained on.  The same frames in every round.
    """
    part = np.full(len(rows), TRAIN, dtype="<U5")
    keys = [snapshot.keys[i] for i in rows]
    for name, rule in rules_of(now).items():
        mine = np.array([key.sequence == name for key in keys], dtype=np.bool_)
        numbers = np.array([key.index for key in keys], dtype=np.int64)[mine]
        part[mine] = replace(rule, fraction=HELD_OUT).of(name, numbers, now.project.seed + 1)
    return part
