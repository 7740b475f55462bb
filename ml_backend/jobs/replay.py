"""Which labelled frames a recipe trains on, and which it evaluates to stop early."""

from __future__ import annotations

import numpy as np

from label_config.values import BoolArray, FloatArray, IntArray
from ml_backend.labels.snapshot import Snapshot
from ml_backend.labels.split import stable_uniform
from ml_backend.metrics.oks import pose_oks
from ml_backend.pose.presets import acft_training_set
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.load_model import load_predictor
from ml_backend.project.predict_frames import predict_frames
from ml_backend.project.training_set import load_snapshot
from ml_backend.store.frames import list_frames
from ml_backend.store.versions import VersionRow, list_snapshots
from ml_backend.store.workspace import Workspace

#: OKS from which a labelled frame needs no replay, that of the stop advice; the margin is added to it (docs/methods.md §3.4).
GOOD_OKS = 0.8
#: Share of the training frames that early stopping evaluates.  Never validation frames: those evaluate the outcome.
HELD_OUT = 0.1


def misestimated(workspace: Workspace, parent: VersionRow, snapshot: Snapshot, rows: IntArray, pictures: Pictures) -> IntArray:
    """The rows that ACFT trains on: frames that ``parent`` has not seen, and those that it still gets wrong."""
    known = {row.id: row for row in list_snapshots(workspace.store)}
    before = known.get(parent.snapshot_id) if parent.snapshot_id is not None else None
    seen = load_snapshot(workspace, before).frame_ids if before else np.zeros(0, np.int64)
    is_new: BoolArray = ~np.isin(snapshot.frame_ids[rows], seen)
    similarity = np.full(len(rows), np.nan)
    similarity[~is_new] = similarities(workspace, parent, snapshot, rows[~is_new], pictures)
    return rows[acft_training_set(similarity, is_new, GOOD_OKS)]


def similarities(workspace: Workspace, version: VersionRow, snapshot: Snapshot, rows: IntArray, pictures: Pictures) -> FloatArray:
    """(m,) OKS of the version's predictions against people's points, mean over the views; NaN where nothing compares."""
    if not len(rows):
        return np.zeros(0)
    found = list_frames(workspace.store, snapshot.frame_ids[rows].tolist())
    place = {frame.id: position for position, frame in enumerate(found)}
    model = load_predictor(workspace, workspace.models / version.path)
    predicted = predict_frames(workspace, model, found, pictures).xy_px
    order = [place[int(frame)] for frame in snapshot.frame_ids[rows]]
    sigmas = np.array(workspace.binding.skeleton.sigmas)
    return pose_oks(predicted[order], snapshot.xy_px[rows], snapshot.human[rows], sigmas, snapshot.box_px[rows])


def held_out(snapshot: Snapshot, rows: IntArray, seed: int) -> BoolArray:
    """(len(rows),) True for the frames that early stopping evaluates instead of training: the same ones in every round."""
    drawn = [stable_uniform(snapshot.keys[i].sequence, np.array([snapshot.keys[i].index]), seed)[0] < HELD_OUT for i in rows]
    return np.array(drawn, dtype=np.bool_)
